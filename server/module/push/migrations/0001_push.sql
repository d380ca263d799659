CREATE TABLE push (
	owner    bigint NOT NULL,     -- account.id
	service  {{text}} NOT NULL,   -- address of the push service
	node     {{text}} NOT NULL,   -- there; '' if none was named
	options  {{bytes}},           -- what is published with each notification: a form; NULL if nothing
	resource {{text}} NOT NULL,   -- of the session that has asked for it last
	since    bigint NOT NULL,     -- when, in Unix milliseconds
	PRIMARY KEY (owner, service, node)
);
