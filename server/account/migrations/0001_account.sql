CREATE TABLE account (
	id       {{id}},
	jid      {{text}} UNIQUE,            -- bare; NULL once deleted, so that the address is free and the id is not
	created  bigint NOT NULL,            -- Unix milliseconds
	disabled boolean NOT NULL,
	admin    boolean NOT NULL
);

CREATE TABLE credential (
	account    bigint NOT NULL,
	hash       {{text}} NOT NULL,        -- SHA-1, SHA-256, SHA-512
	salt       {{bytes}} NOT NULL,
	iterations integer NOT NULL,
	stored_key {{bytes}} NOT NULL,
	server_key {{bytes}} NOT NULL,
	PRIMARY KEY (account, hash)
);

CREATE TABLE secret (
	name  {{text}} PRIMARY KEY,
	value {{bytes}} NOT NULL
);
