CREATE TABLE last_activity (
	owner  bigint PRIMARY KEY,  -- account.id
	at     bigint NOT NULL,     -- when its last session ended, in Unix milliseconds
	status {{text}} NOT NULL    -- the words with which it left
);
