-- The installations of clients that log in with tokens (XEP-0484).
CREATE TABLE device (
	account  bigint NOT NULL,
	id       {{text}} NOT NULL,     -- derived from the id that the client has, which is not kept
	software {{text}} NOT NULL,     -- as the client calls itself
	name     {{text}} NOT NULL,     -- and the device
	first    bigint NOT NULL,       -- token, Unix milliseconds
	last     bigint NOT NULL,       -- log-in, to the hour, Unix milliseconds
	PRIMARY KEY (account, id)
);

-- For each at most two: one in use, and one that is given out and not used yet.
CREATE TABLE token (
	account   bigint NOT NULL,
	device    {{text}} NOT NULL,    -- device.id
	fresh     boolean NOT NULL,     -- not used yet
	mechanism {{text}} NOT NULL,    -- the only one that it is for
	sealed    {{bytes}} NOT NULL,   -- the token, encrypted
	created   bigint NOT NULL,      -- Unix milliseconds
	expires   bigint NOT NULL,      -- Unix milliseconds
	count     bigint NOT NULL,      -- the highest that the client has sent with it
	PRIMARY KEY (account, device, fresh)
);
