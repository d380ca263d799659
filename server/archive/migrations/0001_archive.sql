-- Append-only with a unique index: clustering by (owner, id) costs twice as much per row.
CREATE TABLE message (
	owner    bigint NOT NULL,            -- account.id
	id       bigint NOT NULL,            -- (Unix ms << 20) | counter, grows within an owner
	peer     {{text}} NOT NULL,          -- the other side's bare address
	outgoing boolean NOT NULL,           -- the owner sent it
	transit  boolean NOT NULL,           -- kept only until it is delivered
	stanza   {{bytes}} NOT NULL          -- as serialised, without our stanza-id
);
CREATE UNIQUE INDEX message_id ON message (owner, id);

-- Messages that no session has taken yet.
CREATE TABLE offline (
	owner bigint NOT NULL,
	id    bigint NOT NULL,
	PRIMARY KEY (owner, id)
);
