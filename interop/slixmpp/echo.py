"""A component of slixmpp that sends back what it is told.

    echo.py DOMAIN SECRET HOST PORT [CA]

With the file of an authority it speaks TLS, and nothing else.
"""

import asyncio
import sys

import slixmpp


class Echo(slixmpp.ComponentXMPP):
    def __init__(self, domain, secret, host, port):
        super().__init__(domain, secret, host, port)
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0092", {"software_name": "echo", "version": slixmpp.__version__})
        self.register_plugin("xep_0199", {"keepalive": False})
        self.plugin["xep_0030"].add_identity(category="client", itype="bot", name="echo")
        self.add_event_handler("message", self.on_message)
        self.add_event_handler("presence_subscribe", self.on_subscribe)

    def on_message(self, message):
        if message["type"] in ("chat", "normal"):
            message.reply("you said " + message["body"]).send()

    def on_subscribe(self, presence):
        self.send_presence(pto=presence["from"], pfrom=presence["to"], ptype="subscribed")
        self.send_presence(pto=presence["from"], pfrom=presence["to"], pstatus="all ears")


async def main():
    echo = Echo(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
    if len(sys.argv) > 5:
        # A component is not made for it, though its stream is: it has no service with TLS, and the name to verify is the host's.
        echo.ca_certs = sys.argv[5]
        echo.tls_services, echo.enable_plaintext = {"xmpps-component"}, False
        echo.default_domain = sys.argv[1]
    echo.connect()
    await echo.disconnected


asyncio.run(main())
