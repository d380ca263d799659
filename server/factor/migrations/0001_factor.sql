CREATE TABLE factor (
	account  bigint PRIMARY KEY,
	secret   {{bytes}} NOT NULL,         -- of the codes, sealed
	enabled  boolean NOT NULL,           -- a code was shown once; before that, nothing is asked for
	step     bigint NOT NULL,            -- the last period a code of which was used
	failures integer NOT NULL,           -- wrong codes since the last right one
	until    bigint NOT NULL             -- Unix milliseconds: no code is looked at before
);

CREATE TABLE recovery_code (
	account bigint NOT NULL,
	hash    {{bytes}} NOT NULL,
	PRIMARY KEY (account, hash)
);

CREATE TABLE app_password (
	id      {{id}},
	account bigint NOT NULL,
	label   {{text}} NOT NULL,           -- what its owner calls the client
	created bigint NOT NULL,             -- Unix milliseconds
	used    bigint NOT NULL              -- last log-in, to the hour, Unix milliseconds; 0: never
);

CREATE INDEX app_password_account ON app_password (account);

CREATE TABLE app_key (
	app        bigint NOT NULL,          -- app_password.id
	account    bigint NOT NULL,
	hash       {{text}} NOT NULL,        -- SHA-1, SHA-256, SHA-512
	salt       {{bytes}} NOT NULL,       -- that of the password at the time: with another password the app's is void
	stored_key {{bytes}} NOT NULL,
	server_key {{bytes}} NOT NULL,
	PRIMARY KEY (app, hash)
);

CREATE INDEX app_key_account ON app_key (account, hash);
