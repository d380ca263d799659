-- By what the session that has asked for it last has access, see account.Access; '' is not known.
ALTER TABLE push ADD COLUMN access {{text}} NOT NULL DEFAULT '';
