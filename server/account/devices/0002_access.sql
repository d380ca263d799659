-- By what the installation has logged in: a sum of account.Method. Those there are got a token by a password.
ALTER TABLE device ADD COLUMN methods integer NOT NULL DEFAULT 1;

CREATE INDEX device_last ON device (last);
