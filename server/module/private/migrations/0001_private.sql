CREATE TABLE private_data (
	owner   bigint NOT NULL,     -- account.id
	space   {{text}} NOT NULL,   -- the name of the elements
	name    {{text}} NOT NULL,
	content {{bytes}} NOT NULL,  -- a query of XEP-0049 with all elements of that name
	PRIMARY KEY (owner, space, name)
);
