CREATE TABLE invitation (
	id      {{id}},
	hash    {{bytes}} NOT NULL UNIQUE,   -- SHA-256 of the token
	host    {{text}} NOT NULL,           -- on which an account may be made
	created bigint NOT NULL,             -- Unix milliseconds
	expires bigint NOT NULL,             -- Unix milliseconds
	admin   boolean NOT NULL,            -- the account will be an administrator's
	owner   bigint                       -- account.id of the contact that the account will have; NULL: none
);
CREATE INDEX invitation_owner ON invitation (owner);
