"""A device, somebody who writes to it, and the push service of its app (XEP-0357), of slixmpp.

Usage: push.py HOST CLIENT_PORT COMPONENT_PORT DOMAIN CA SERVICE SECRET. Says as JSON what the service was told.
"""

import asyncio
import json
import sys
import xml.etree.ElementTree as ET

import slixmpp
from slixmpp.xmlstream.handler import CoroutineCallback
from slixmpp.xmlstream.matcher import StanzaPath

PUSH = "urn:xmpp:push:0"
OPTIONS = "http://jabber.org/protocol/pubsub#publish-options"

host, client_port, component_port, domain, ca, service, secret = sys.argv[1:]


class Service(slixmpp.ComponentXMPP):
    """A push service as XEP-0357 §3 has it: a pubsub service that is told, and forwards."""

    def __init__(self):
        super().__init__(service, secret, host, int(component_port))
        self.told = asyncio.Queue()
        self.refuses = False
        self.register_plugin("xep_0004")
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0060")
        self.plugin["xep_0030"].add_identity(category="pubsub", itype="push")
        self.register_handler(CoroutineCallback("publish", StanzaPath("iq@type=set/pubsub/publish"), self.on_publish))

    def values(self, around):
        form = self.plugin["xep_0004"].stanza.Form(around.find("{jabber:x:data}x"))
        return {name: value[0] if isinstance(value, list) else value for name, value in form.get_values().items()}

    async def on_publish(self, iq):
        publish = iq["pubsub"]["publish"]
        payload = publish["item"]["payload"]
        options = iq["pubsub"].xml.find("{http://jabber.org/protocol/pubsub}publish-options")
        await self.told.put({
            "from": iq["from"].full,
            "node": publish["node"],
            "payload": payload.tag,
            "summary": self.values(payload),
            "options": self.values(options),
        })
        if self.refuses:
            reply = iq.reply()
            reply.error()
            reply["error"]["condition"] = "item-not-found"
            reply["error"]["type"] = "cancel"
            reply.send()
        else:
            iq.reply(clear=True).send()


class Client(slixmpp.ClientXMPP):
    def __init__(self, name):
        super().__init__(f"{name}@{domain}/{name}", "secret")
        self.ca_certs = ca
        self.enable_direct_tls = False
        self.register_plugin("xep_0004")
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0077")
        self.add_event_handler("register", self.on_register)

    async def on_register(self, _):
        iq = self.make_iq_set()
        iq["register"]["username"] = self.boundjid.user
        iq["register"]["password"] = self.password
        await iq.send()
        self.del_event_handler("register", self.on_register)

    async def open(self):
        self.connect(host, int(client_port))
        await self.wait_until("session_start", 30)
        self.send_presence()

    async def enable(self, node):
        iq = self.make_iq_set()
        enable = ET.Element(f"{{{PUSH}}}enable", {"jid": service, "node": node})
        form = self.plugin["xep_0004"].make_form(ftype="submit")
        form.add_field(var="FORM_TYPE", ftype="hidden", value=OPTIONS)
        form.add_field(var="secret", value="eruio234vzxc2kla-91")
        enable.append(form.xml)
        iq.append(enable)
        await iq.send(timeout=30)

    def write(self, to, body):
        self.send_message(mto=to, mbody=body, mtype="chat")


async def main():
    app, romeo, juliet = Service(), Client("romeo"), Client("juliet")
    app.connect()
    await app.wait_until("session_start", 30)
    await romeo.open()
    await juliet.open()
    info = await romeo.plugin["xep_0030"].get_info(jid=romeo.boundjid.bare, timeout=30)
    said = {"announced": PUSH in info["disco_info"]["features"], "told": []}
    await romeo.enable("yxs32uqsflafdk3iuqo")
    await romeo.disconnect()
    for n, refuses in ((1, False), (2, True)):
        app.refuses = refuses
        juliet.write(romeo.boundjid.bare, f"message {n}")
        said["told"].append(await asyncio.wait_for(app.told.get(), 30))
    await asyncio.sleep(1)
    juliet.write(romeo.boundjid.bare, "nobody is told of this")
    try:
        said["told"].append(await asyncio.wait_for(app.told.get(), 3))
    except asyncio.TimeoutError:
        pass
    print(json.dumps(said), flush=True)
    await juliet.disconnect()
    await app.disconnect()


asyncio.run(main())
