CREATE TABLE caps (
	hash    {{text}} NOT NULL,   -- the algorithm
	ver     {{text}} NOT NULL,   -- the verification string
	info    {{bytes}} NOT NULL,  -- a disco#info with what has been verified
	used    bigint NOT NULL,     -- Unix milliseconds, to the day
	PRIMARY KEY (hash, ver)
);
