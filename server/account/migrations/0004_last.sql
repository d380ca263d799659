-- Log-in, to the hour, in Unix milliseconds; 0: never.
ALTER TABLE account ADD COLUMN last_login bigint NOT NULL DEFAULT 0;
