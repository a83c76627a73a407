-- Why:  words beside other than ASCII signs (“quotes”, dashes—like these) were not found; filters.py asks for the same expression.
-- Cost: both indexes are built anew in the background, 3 minutes per million rows on 2 cores; until then a search reads texts.

ALTER TABLE request_logs
    DROP INDEX IF EXISTS ix_prompt_text,
    DROP INDEX IF EXISTS ix_answer_text,
    ADD INDEX IF NOT EXISTS ix_prompt_words
        lowerUTF8(replaceRegexpAll(prompt_text, '[^\\x00-\\x7F\\pL\\pN\\pM]+', ' ')) TYPE text(tokenizer = splitByNonAlpha),
    ADD INDEX IF NOT EXISTS ix_answer_words
        lowerUTF8(replaceRegexpAll(answer_text, '[^\\x00-\\x7F\\pL\\pN\\pM]+', ' ')) TYPE text(tokenizer = splitByNonAlpha)
    SETTINGS mutations_sync = 0, alter_sync = 0;

ALTER TABLE request_logs MATERIALIZE INDEX IF EXISTS ix_prompt_words SETTINGS mutations_sync = 0;

ALTER TABLE request_logs MATERIALIZE INDEX IF EXISTS ix_answer_words SETTINGS mutations_sync = 0;
