"""A puppet of slixmpp: takes orders as lines of JSON, answers with lines of JSON.

The orders are described in puppet_test.go. One process holds several clients.
"""

import asyncio
import datetime
import json
import sys
import xml.etree.ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath, StanzaPath

TIME = "urn:xmpp:time"


class Refused(Exception):
    """What a server refused, by its condition."""

    def __init__(self, condition, type_="", text=""):
        super().__init__(condition)
        self.wire = {"condition": condition, "type": type_, "text": text}


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


class Client(slixmpp.ClientXMPP):
    def __init__(self, name, order):
        super().__init__(order["jid"], order["password"])
        self.name = name
        self.order = order
        self.ca_certs = order["ca"]
        self.enable_direct_tls = False
        self.opened = asyncio.get_running_loop().create_future()
        self.offered = []
        self.failure = None

        self.register_plugin("xep_0030")
        self.register_plugin("xep_0092", {"software_name": "slixmpp", "version": slixmpp.__version__})
        self.register_plugin("xep_0199", {"keepalive": False})
        # The plug-in for XEP-0202 can neither read nor write a time in this
        # version (it puts a second Z behind it), so the puppet does it.
        self.plugin["xep_0030"].add_feature(TIME)
        self.register_handler(Callback("time", MatchXPath(f"{{jabber:client}}iq/{{{TIME}}}time"), self.on_time))
        if order.get("register"):
            self.register_plugin("xep_0077")
            self.add_event_handler("register", self.on_register)

        self.add_event_handler("failed_auth", self.on_failed_auth)
        self.add_event_handler("failed_all_auth", self.on_failed_all_auth)
        self.add_event_handler("session_start", self.on_session_start)
        self.add_event_handler("disconnected", self.on_disconnected)
        self.register_handler(Callback("every message", StanzaPath("message"), self.on_message))
        self.register_handler(Callback("every presence", StanzaPath("presence"), self.on_presence))

    async def open(self):
        self.connect(self.order["host"], self.order["port"])
        await self.opened
        return {
            "jid": self.boundjid.full,
            "offered": sorted(self.plugin["feature_mechanisms"].mech_list),
            "mechanism": self.plugin["feature_mechanisms"].mech.name,
            "tls": self.transport.get_extra_info("ssl_object").version(),
        }

    def fail(self, error):
        if not self.opened.done():
            self.opened.set_exception(error)
        self.disconnect(wait=0)

    async def on_register(self, form):
        iq = self.make_iq_set()
        iq["register"]["username"] = self.boundjid.user
        iq["register"]["password"] = self.password
        try:
            await iq.send(timeout=self.order["wait"])
        except IqError as e:
            self.fail(refused(e))

    def on_failed_auth(self, failure):
        self.failure = self.failure or failure["condition"]

    def on_failed_all_auth(self, _):
        self.fail(Refused(self.failure or "no-mechanism"))

    def on_session_start(self, _):
        if not self.opened.done():
            self.opened.set_result(True)

    def on_disconnected(self, reason):
        if not self.opened.done():
            self.opened.set_exception(Refused("disconnected", text=str(reason)))
        say({"event": "disconnected", "client": self.name})

    def on_time(self, iq):
        if iq["type"] != "get":
            return
        time = ET.Element(f"{{{TIME}}}time")
        ET.SubElement(time, f"{{{TIME}}}tzo").text = "+00:00"
        now = datetime.datetime.now(datetime.timezone.utc)
        ET.SubElement(time, f"{{{TIME}}}utc").text = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        reply = iq.reply()
        reply.set_payload(time)
        reply.send()

    def on_message(self, message):
        error = message.xml.find("{jabber:client}error")
        say({
            "event": "message",
            "client": self.name,
            "from": str(message["from"]),
            "to": str(message["to"]),
            # An absent type counts as normal (RFC 6121, section 5.2.2).
            "type": message.xml.get("type", "normal"),
            "id": message["id"],
            "body": message["body"],
            "condition": message["error"]["condition"] if error is not None else "",
            "delayed": message.xml.find("{urn:xmpp:delay}delay") is not None,
        })

    def on_presence(self, presence):
        say({
            "event": "presence",
            "client": self.name,
            "from": str(presence["from"]),
            "to": str(presence["to"]),
            "type": presence.xml.get("type", ""),
            "priority": int(presence["priority"] or 0),
        })

    async def do_presence(self, order):
        presence = self.make_presence(pto=order.get("to"), ptype=order.get("type"))
        if order.get("priority"):
            presence["priority"] = order["priority"]
        presence.send()
        return {}

    async def do_message(self, order):
        message = self.make_message(mto=order["to"], mbody=order["body"], mtype=order["type"])
        message["id"] = order["stanza"]
        message.send()
        return {}

    async def do_flood(self, order):
        first, count = order["first"], order["count"]
        for i in range(first, first + count):
            message = self.make_message(mto=order["to"], mbody=f"{order['tag']} {i}", mtype="chat")
            message["id"] = f"{order['tag']}-{i}"
            message.send()
            if i % 50 == 0:
                await asyncio.sleep(0)
        return {}

    async def do_iq(self, order):
        to, ask, wait = order["to"], order["ask"], order["wait"]
        if ask == "ping":
            await self.plugin["xep_0199"].send_ping(to, timeout=wait)
            return {}
        if ask == "info":
            iq = await self.plugin["xep_0030"].get_info(jid=to, local=False, timeout=wait)
            info = iq["disco_info"]
            return {
                "identities": sorted(f"{i[0]}/{i[1]}" for i in info["identities"]),
                "features": sorted(info["features"]),
            }
        if ask == "version":
            iq = await self.plugin["xep_0092"].get_version(to, timeout=wait)
            version = iq["software_version"]
            return {"name": version["name"], "version": version["version"]}
        if ask == "time":
            iq = self.make_iq_get(ito=to)
            iq.append(ET.Element(f"{{{TIME}}}time"))
            answer = await iq.send(timeout=wait)
            return {"utc": answer.xml.findtext(f"{{{TIME}}}time/{{{TIME}}}utc")}
        raise Refused("unknown-question", text=ask)

    async def do_close(self, order):
        await self.disconnect(wait=5)
        return {}


def refused(e):
    if isinstance(e, IqTimeout):
        return Refused("timeout")
    error = e.iq["error"]
    return Refused(error["condition"], error["type"], error["text"])


async def obey(clients, order):
    name = order["client"]
    try:
        if order["do"] == "open":
            client = clients[name] = Client(name, order)
            ok = await asyncio.wait_for(client.open(), order["wait"])
        else:
            ok = await getattr(clients[name], "do_" + order["do"])(order)
        say({"id": order["id"], "ok": ok})
    except Refused as e:
        say({"id": order["id"], "error": e.wire})
    except (IqError, IqTimeout) as e:
        say({"id": order["id"], "error": refused(e).wire})
    except Exception as e:  # whatever it is, the test must hear of it
        say({"id": order["id"], "error": {"condition": type(e).__name__, "type": "", "text": str(e)}})


async def main():
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    say({"event": "ready", "client": "", "body": "slixmpp " + slixmpp.__version__})
    clients, tasks = {}, set()
    while line := await orders.readline():
        task = loop.create_task(obey(clients, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
