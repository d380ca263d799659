"""A puppet of nbxmpp, Gajim's library: takes orders as lines of JSON, answers with lines of JSON.

The orders are described in puppet_test.go; this one knows those that TestNbxmpp gives. One process
holds several clients. PyGObject is Debian's, which no virtual environment has.
"""

import json
import sys

sys.path.append("/usr/lib/python3/dist-packages")

import gi

gi.require_version("Soup", "3.0")
from gi.repository import Gio, GLib

import nbxmpp
from nbxmpp.client import Client as Library
from nbxmpp.const import ConnectionProtocol, ConnectionType
from nbxmpp.errors import StanzaError
from nbxmpp.protocol import JID, Message, Presence
from nbxmpp.structs import StanzaHandler


class Refused(Exception):
    """What a server refused, by its condition."""


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


class Client:
    def __init__(self, name, order):
        self.name = name
        jid = JID.from_string(order["jid"])
        c = self.library = Library(log_context=name)
        c.set_domain(jid.domain)
        c.set_username(jid.localpart)
        c.set_resource(jid.resource)
        c.set_password(order["password"])
        c.set_sm_disabled(not order.get("resume"))
        c.set_ignored_tls_errors({Gio.TlsCertificateFlags.UNKNOWN_CA})
        address = "{host}:{port}".format(**order)
        c.set_custom_host(address, ConnectionProtocol.TCP, ConnectionType.START_TLS)
        self.answer = None
        self.offered = []
        self.under_way = []
        for signal, handler in {
            "connected": self.on_open,
            "resume-successful": self.on_open,
            "connection-failed": self.on_gone,
            "disconnected": self.on_gone,
            "stanza-received": self.on_element,
        }.items():
            c.subscribe(signal, handler)
        for kind, handler in {"message": self.on_message, "presence": self.on_presence}.items():
            c.register_handler(StanzaHandler(name=kind, callback=handler, priority=60))

    def connect(self, answer):
        self.answer = answer
        self.library.connect()

    def on_element(self, _library, _signal, stanza):
        if stanza.getName() == "features" and not self.offered:
            for inner in stanza.getChildren():
                if inner.getNamespace() == "urn:xmpp:sasl:2":
                    self.offered = sorted(m.getData() for m in inner.getTags("mechanism"))

    def on_open(self, library, signal):
        answer, self.answer = self.answer, None
        if answer is None:
            return
        answer({
            "jid": str(library.get_bound_jid()),
            "offered": self.offered,
            "mechanism": library._sasl._mechanism.name,
            "profile": library._sasl._sasl_ns,
            "resumed": signal == "resume-successful",
        })

    def on_gone(self, library, _signal):
        say({"event": "disconnected", "client": self.name})
        answer, self.answer = self.answer, None
        if answer is not None:
            answer(Refused(str(library.get_error())))

    def on_message(self, _library, stanza, properties):
        say({
            "event": "message",
            "client": self.name,
            "from": str(stanza.getFrom()),
            "to": str(stanza.getTo()),
            "type": stanza.getType() or "normal",
            "id": stanza.getID() or "",
            "body": stanza.getBody() or "",
            "condition": stanza.getError() or "" if stanza.getType() == "error" else "",
            "delayed": stanza.getTag("delay", namespace="urn:xmpp:delay") is not None,
        })

    def on_presence(self, _library, stanza, properties):
        say({
            "event": "presence",
            "client": self.name,
            "from": str(stanza.getFrom()),
            "to": str(stanza.getTo()),
            "type": stanza.getType() or "",
            "priority": int(stanza.getPriority() or 0),
            "show": stanza.getShow() or "",
            "status": stanza.getStatus() or "",
        })

    def do_presence(self, order, answer):
        self.library.send_stanza(Presence(
            to=order.get("to"), typ=order.get("type"), priority=order.get("priority") or None,
            show=order.get("show"), status=order.get("status")))
        answer({})

    def do_message(self, order, answer):
        self.library.send_stanza(Message(
            to=order["to"], body=order["body"], typ=order["type"], attrs={"id": order["stanza"]}))
        answer({})

    def do_flood(self, order, answer):
        for i in range(order["first"], order["first"] + order["count"]):
            tag = order["tag"]
            self.library.send_stanza(Message(to=order["to"], body=f"{tag} {i}", typ="chat", attrs={"id": f"{tag}-{i}"}))
        if order.get("cut"):
            self.library.disconnect(immediate=True)
        answer({})

    def do_roster(self, order, answer):
        self.library.get_module("Roster").request_roster(callback=self.done(answer, lambda got: {"items": [
            {"jid": str(i.jid), "name": i.name or "", "subscription": i.subscription or "none", "ask": i.ask or "",
             "groups": sorted(i.groups)} for i in got.items or []]}))

    def do_iq(self, order, answer):
        ping = self.library.get_module("Ping").ping
        ping(JID.from_string(order["to"]), callback=self.done(answer, lambda _: {}))

    def done(self, answer, wire):
        """The library keeps no callback alive, so the client does until it is called."""
        def callback(task):
            self.under_way.remove(callback)
            try:
                answer(wire(task.finish()))
            except StanzaError as e:
                answer(Refused(e.condition))
        self.under_way.append(callback)
        return callback

    def do_resumable(self, _order, answer):
        answer({"resumable": bool(self.library.resumeable)})

    def do_cut(self, _order, answer):
        self.library.disconnect(immediate=True)
        answer({})

    def do_resume(self, _order, answer):
        self.connect(answer)

    def do_close(self, _order, answer):
        self.library.disconnect()
        answer({})


def obey(clients, order):
    def answer(value):
        if isinstance(value, Exception):
            say({"id": order["id"], "error": {"condition": str(value), "type": "", "text": ""}})
        else:
            say({"id": order["id"], "ok": value})

    name = order["client"]
    try:
        if order["do"] == "open":
            clients[name] = Client(name, order)
            clients[name].connect(answer)
        else:
            getattr(clients[name], "do_" + order["do"])(order, answer)
    except Exception as e:  # whatever it is, the test must hear of it
        answer(Refused(f"{type(e).__name__}: {e}"))


def main():
    loop, clients = GLib.MainLoop(), {}
    orders = Gio.DataInputStream.new(Gio.UnixInputStream.new(0, False))

    def on_line(stream, got):
        line, _ = stream.read_line_finish_utf8(got)
        if line is None:
            loop.quit()
            return
        obey(clients, json.loads(line))
        stream.read_line_async(GLib.PRIORITY_DEFAULT, None, on_line)

    orders.read_line_async(GLib.PRIORITY_DEFAULT, None, on_line)
    say({"event": "ready", "client": "", "body": "nbxmpp " + nbxmpp.__version__})
    loop.run()


main()
