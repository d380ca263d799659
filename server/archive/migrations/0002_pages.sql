-- Messages of one peer are found without reading those of others, and their sizes summed up without reading them.
ALTER TABLE message ADD COLUMN resource {{text}} NOT NULL DEFAULT '';  -- the other side's
ALTER TABLE message ADD COLUMN size bigint NOT NULL DEFAULT 0;         -- bytes of stanza
UPDATE message SET size = length(stanza);
CREATE INDEX message_peer ON message (owner, peer, id, size) WHERE NOT transit;

-- What is known of an owner's archive.
CREATE TABLE archive (
	owner bigint PRIMARY KEY,
	floor bigint NOT NULL,               -- messages up to this id are deleted; none of these ids is given again
	prefs {{text}} NOT NULL              -- JSON; '' if nothing was said
);
