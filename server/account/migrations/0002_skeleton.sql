-- What all names have in common that look like this one (UTS #39), with @ and the host behind it; NULL for a deleted account.
ALTER TABLE account ADD COLUMN skeleton {{text}};

-- By which version of the rules; 0: not made yet.
ALTER TABLE account ADD COLUMN skeleton_version integer NOT NULL DEFAULT 0;

CREATE INDEX account_skeleton ON account (skeleton);
