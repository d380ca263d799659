CREATE TABLE blocklist (
	owner bigint NOT NULL,      -- account.id
	jid   {{text}} NOT NULL,    -- whom it blocks: a full or bare address, or a domain
	PRIMARY KEY (owner, jid)
);
