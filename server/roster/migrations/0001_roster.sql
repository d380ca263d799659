CREATE TABLE roster (
	owner   bigint PRIMARY KEY,          -- account.id
	version bigint NOT NULL,             -- of the last change that clients see
	horizon bigint NOT NULL              -- what was removed up to here is forgotten
);

CREATE TABLE roster_item (
	owner        bigint NOT NULL,
	jid          {{text}} NOT NULL,
	listed       boolean NOT NULL,       -- in the roster; if not, it was removed, or there is only a request
	name         {{text}} NOT NULL,
	groups       {{text}} NOT NULL,      -- a JSON array, or empty
	subscription {{text}} NOT NULL,      -- none, to, from, both
	ask          boolean NOT NULL,       -- we have asked for a subscription
	approved     boolean NOT NULL,       -- their request will be granted
	version      bigint NOT NULL,        -- of the last change that clients see; 0: they have not seen it
	request      {{bytes}},              -- the stanza by which they have asked for a subscription
	PRIMARY KEY (owner, jid)
);
