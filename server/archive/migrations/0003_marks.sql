-- Where the database can, the key is the table: a mark is put into one tree and taken from one.
CREATE TABLE waiting (
	owner bigint NOT NULL,
	id    bigint NOT NULL,
	PRIMARY KEY (owner, id)
) {{clustered}};
INSERT INTO waiting (owner, id) SELECT owner, id FROM offline;
DROP TABLE offline;
ALTER TABLE waiting RENAME TO offline;
