-- Accounts whose people are known elsewhere: to a directory, or to an issuer of tokens.
CREATE TABLE identity (
	host    {{text}} NOT NULL,           -- of the account
	source  {{text}} NOT NULL,           -- who knows: the issuer's URL; ldap
	subject {{text}} NOT NULL,           -- by which he is known there, whatever he is called
	account bigint NOT NULL,
	PRIMARY KEY (host, source, subject)
);
CREATE UNIQUE INDEX identity_account ON identity (account, source);
