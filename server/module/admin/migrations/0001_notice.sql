-- What people of a host are told when they log in.
CREATE TABLE notice (
	host {{text}} NOT NULL,
	kind {{text}} NOT NULL,              -- 'motd' or 'welcome'
	id   bigint NOT NULL,                -- Unix ms when it was set; another text for all has a larger one
	body {{text}} NOT NULL,              -- '' if it was deleted
	PRIMARY KEY (host, kind)
);

-- Who has been told.
CREATE TABLE notice_seen (
	owner   bigint PRIMARY KEY,          -- account.id
	motd    bigint NOT NULL,             -- id of the last that was shown, 0 for none
	welcome bigint NOT NULL
);
