-- Who has reported whom, for the administrators.
CREATE TABLE report (
	id       {{id}},
	host     {{text}} NOT NULL,          -- of who has reported
	owner    bigint NOT NULL,            -- account.id of who has reported
	at       bigint NOT NULL,            -- Unix ms
	reported {{text}} NOT NULL,          -- the address
	reason   {{text}} NOT NULL,
	words    {{text}} NOT NULL,          -- '' if there were none
	origin   boolean NOT NULL,           -- the server of who is reported may be told
	third    boolean NOT NULL            -- others may be told
);
CREATE INDEX report_owner ON report (owner, at);
CREATE INDEX report_host ON report (host, id);

-- What was reported: copies, which stay when the messages are retracted or deleted.
CREATE TABLE report_message (
	report bigint NOT NULL,
	n      bigint NOT NULL,
	owner  bigint NOT NULL,
	stanza {{bytes}} NOT NULL,
	PRIMARY KEY (owner, report, n)
);
CREATE INDEX report_message_report ON report_message (report, n);

-- What the administrators of a host know.
CREATE TABLE report_told (
	host  {{text}} PRIMARY KEY,
	upto  bigint NOT NULL,               -- report.id
	at    bigint NOT NULL                -- Unix ms
);
