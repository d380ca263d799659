"""A puppet of slixmpp: takes orders as lines of JSON, answers with lines of JSON.

The orders are described in puppet_test.go. One process holds several clients.
"""

import asyncio
import datetime
import functools
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
        self.register_plugin("xep_0050")
        self.register_plugin("xep_0092", {"software_name": "slixmpp", "version": slixmpp.__version__})
        self.register_plugin("xep_0199", {"keepalive": False})
        self.register_plugin("xep_0280")
        self.register_plugin("xep_0313")
        self.register_plugin("xep_0352")
        self.register_plugin("xep_0441")
        # The plug-in for XEP-0202 can neither read nor write a time in this
        # version (it puts a second Z behind it), so the puppet does it.
        self.plugin["xep_0030"].add_feature(TIME)
        self.register_handler(Callback("time", MatchXPath(f"{{jabber:client}}iq/{{{TIME}}}time"), self.on_time))
        self.register_plugin("xep_0191")
        if order.get("resume"):
            self.register_plugin("xep_0198")
            self.add_event_handler("session_resumed", self.on_resumed)
        self.roster.auto_authorize = self.roster.auto_subscribe = None  # the test decides
        self.roster_answered = None
        self.register_handler(Callback("roster push", StanzaPath("iq@type=set/roster"), self.on_roster))
        self.add_event_handler("blocked", lambda iq: self.on_blocking("block", iq))
        self.add_event_handler("unblocked", lambda iq: self.on_blocking("unblock", iq))
        if order.get("register"):
            self.register_plugin("xep_0077")
            self.add_event_handler("register", self.on_register)

        for direction in ("sent", "received"):
            self.add_event_handler("carbon_" + direction, functools.partial(self.on_carbon, direction))
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
            self.del_event_handler("register", self.on_register)
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

    def on_resumed(self, _):
        if not self.resumed.done():
            self.resumed.set_result(True)

    def on_roster(self, iq):
        for item in roster_items(iq):
            say({"event": "roster", "client": self.name, "ver": iq["roster"]["ver"] or "", "item": item})

    def on_blocking(self, what, iq):
        jids = sorted(str(item["jid"]) for item in iq[what])
        say({"event": what, "client": self.name, "jids": jids})

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

    def on_carbon(self, direction, message):
        copy = message["carbon_" + direction]
        say({
            "event": "carbon",
            "client": self.name,
            "type": direction,
            "from": str(copy["from"]),
            "to": str(copy["to"]),
            "body": copy["body"],
        })

    def on_presence(self, presence):
        say({
            "event": "presence",
            "client": self.name,
            "from": str(presence["from"]),
            "to": str(presence["to"]),
            "type": presence.xml.get("type", ""),
            "priority": int(presence["priority"] or 0),
            "show": presence.xml.findtext("{jabber:client}show") or "",
            "status": presence.xml.findtext("{jabber:client}status") or "",
        })

    async def do_presence(self, order):
        presence = self.make_presence(pto=order.get("to"), ptype=order.get("type"))
        if order.get("priority"):
            presence["priority"] = order["priority"]
        if order.get("show"):
            presence["show"] = order["show"]
        if order.get("status"):
            presence["status"] = order["status"]
        if order.get("room"):
            presence.xml.append(ET.Element("{http://jabber.org/protocol/muc}x"))
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
        if order.get("cut"):
            await asyncio.sleep(0)  # the library writes from a queue
            self.cut()
        return {}

    async def do_roster(self, order):
        self.client_roster.version = order.get("ver", "")
        iq = await self.get_roster(timeout=order["wait"])
        # The library puts an empty query into an answer that has none.
        query = iq.xml.find("{jabber:iq:roster}query")
        if query is not None and not len(query) and "ver" not in query.attrib:
            query = None
        return {
            "versioned": "rosterver" in self.features,
            "unchanged": query is None,
            "ver": query.get("ver", "") if query is not None else "",
            "items": roster_items(iq),
        }

    async def do_contact(self, order):
        if order.get("type") == "remove":
            await self.del_roster_item(order["to"])
        else:
            await self.update_roster(order["to"], name=order["name"], groups=order["groups"], subscription="none")
        return {}

    async def do_block(self, order):
        await self.plugin["xep_0191"].block([order["to"]], timeout=order["wait"])
        return {}

    async def do_unblock(self, order):
        await self.plugin["xep_0191"].unblock([order["to"]], timeout=order["wait"])
        return {}

    async def do_blocklist(self, order):
        jids = await self.plugin["xep_0191"].get_blocked_jids(timeout=order["wait"])
        return {"jids": sorted(str(j) for j in jids)}

    async def do_carbons(self, order):
        await self.plugin["xep_0280"].enable(timeout=order["wait"])
        return {}

    async def do_state(self, order):
        csi = self.plugin["xep_0352"]
        if not csi.enabled:
            raise Refused("not-offered")
        {"active": csi.send_active, "inactive": csi.send_inactive}[order["type"]]()
        return {}

    def cut(self):
        self.transport.abort()

    async def do_cut(self, order):
        self.cut()
        return {}

    async def do_resumable(self, order):
        return {"resumable": bool(self.plugin["xep_0198"].sm_id)}

    async def do_resume(self, order):
        self.resumed = asyncio.get_running_loop().create_future()
        self.opened = asyncio.get_running_loop().create_future()  # a session anew, if it is not resumed
        self.connect(self.order["host"], self.order["port"])
        done, _ = await asyncio.wait(
            [self.resumed, self.opened], timeout=order["wait"], return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise Refused("timeout")
        return {"jid": self.boundjid.full, "resumed": self.resumed.done()}

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
        if ask == "register":  # with what is no server, too; without a name: no more
            query = ET.Element("{jabber:iq:register}query")
            if order.get("name"):
                ET.SubElement(query, "{jabber:iq:register}username").text = order["name"]
                ET.SubElement(query, "{jabber:iq:register}password").text = order["body"]
            else:
                ET.SubElement(query, "{jabber:iq:register}remove")
            iq = self.make_iq_set(ito=to)
            iq.append(query)
            await iq.send(timeout=wait)
            return {}
        if ask == "commands":
            items = (await self.plugin["xep_0050"].get_commands(to, timeout=wait))["disco_items"]["items"]
            return {"bodies": sorted(node for _, node, _ in items)}
        if ask == "command":  # its one field is filled in; what it says at last
            adhoc = self.plugin["xep_0050"]
            begun = (await adhoc.send_command(to, order["name"], timeout=wait))["command"]
            form = begun["form"]
            [var] = [name for name, field in form.get_fields().items() if field["type"] not in ("hidden", "fixed")]
            form["type"] = "submit"
            form.set_values({var: order["body"]})
            done = await adhoc.send_command(
                to, order["name"], action="complete", sessionid=begun["sessionid"], payload=form, timeout=wait)
            return {"bodies": [text for _, text in done["command"]["notes"]]}
        raise Refused("unknown-question", text=ask)

    async def do_history(self, order):
        mam = self.plugin["xep_0313"]
        if order["ask"] == "ends":
            answer = await mam.get_archive_metadata(timeout=20)
            return {"bodies": [answer["mam_metadata"]["start"]["id"], answer["mam_metadata"]["end"]["id"]]}
        if order["ask"] == "fields":
            return {"features": sorted(f["var"] for f in (await mam.get_fields(timeout=20))["fields"])}
        if order["ask"] == "prefs":
            prefs = self.plugin["xep_0441"]
            await prefs.set_preferences(default="roster", never=[slixmpp.JID(order["to"])], timeout=20)
            default, _, never = await prefs.get_preferences(timeout=20)
            return {"bodies": [default, *map(str, never)]}
        bodies = []
        async for message in mam.iterate(
            with_jid=slixmpp.JID(order["to"]), reverse=order["ask"] == "backwards", rsm={"max": order["count"]}
        ):
            bodies.append(message["mam_result"]["forwarded"]["stanza"]["body"])
        return {"bodies": bodies}

    async def do_close(self, order):
        await self.disconnect(wait=5)
        return {}


def roster_items(iq):
    return [
        {
            "jid": item.get("jid"),
            "name": item.get("name", ""),
            "subscription": item.get("subscription", "none"),
            "ask": item.get("ask", ""),
            "groups": sorted(g.text for g in item.findall("{jabber:iq:roster}group")),
        }
        for item in iq.xml.findall("{jabber:iq:roster}query/{jabber:iq:roster}item")
    ]


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
