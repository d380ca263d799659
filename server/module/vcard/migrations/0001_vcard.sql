CREATE TABLE vcard (
	owner   bigint PRIMARY KEY,  -- account.id
	content {{bytes}} NOT NULL   -- a vCard of XEP-0054
);
