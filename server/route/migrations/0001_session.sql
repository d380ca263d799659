-- Sessions that wait for their clients while the server is not running.
CREATE TABLE session (
	id    {{text}} PRIMARY KEY,          -- by which it is resumed (XEP-0198)
	owner bigint NOT NULL,               -- account.id
	state {{bytes}} NOT NULL             -- JSON
);
CREATE INDEX session_owner ON session (owner);
