-- Messages of one peer are found, and sizes summed up, in the index alone. An index by (owner, peer, id) would find them
-- faster, and cost each message half as much again: its place in it is another one than here.
ALTER TABLE message ADD COLUMN resource {{text}} NOT NULL DEFAULT '';  -- the other side's
ALTER TABLE message ADD COLUMN size bigint NOT NULL DEFAULT 0;         -- bytes of stanza
UPDATE message SET size = length(stanza);
DROP INDEX message_id;
CREATE INDEX message_id ON message (owner, id, peer, resource, transit, size);

-- What is known of an owner's archive.
CREATE TABLE archive (
	owner bigint PRIMARY KEY,
	floor bigint NOT NULL,               -- messages up to this id are deleted; none of these ids is given again
	prefs {{text}} NOT NULL              -- JSON; '' if nothing was said
);
