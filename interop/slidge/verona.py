"""A network of two people, for slidge: the module that a gateway of slidge's is made of.

They are everybody's contacts, answer what they are told, and know what the user has said elsewhere.
"""

import slidge
from slidge.contact import LegacyContact, LegacyRoster


class Gateway(slidge.BaseGateway):
    COMPONENT_NAME = "Verona"
    COMPONENT_TYPE = "verona"
    ROSTER_GROUP = "Verona"

    async def validate(self, user_jid, registration_form):
        if registration_form.get("password") != "hush":
            raise ValueError("Verona does not know you.")


class Session(slidge.BaseSession):
    async def login(self):
        return "in fair Verona"

    async def logout(self):
        pass


class Contact(LegacyContact):
    async def update_info(self):
        self.name = self.legacy_id.title()
        self.is_friend = True
        self.online("all ears")

    async def on_message(self, message):
        body = message.body
        if word := body.removeprefix("elsewhere "):
            if word != body:
                self.send_text(word, carbon=True)  # the user has written it in the network's own program
                return None
        self.send_text("you said " + body)
        return None


class Roster(LegacyRoster):
    async def fill(self):
        for name in ("mercutio", "benvolio"):
            contact = await self.by_legacy_id(name)
            await contact.add_to_roster()
            yield contact
