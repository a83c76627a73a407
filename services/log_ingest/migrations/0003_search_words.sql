-- Why:  words beside other than ASCII signs (“quotes”, dashes—like these) were not found, scripts without spaces were scanned (search.py).
-- Cost: both indexes are built anew in the background, 3 minutes per million rows on 2 cores; until then a search reads texts.

ALTER TABLE request_logs
    DROP INDEX IF EXISTS ix_prompt_text,
    DROP INDEX IF EXISTS ix_answer_text,
    ADD INDEX IF NOT EXISTS ix_prompt_words
        lowerUTF8(replaceRegexpAll(prompt_text, '([\\x{E00}-\\x{EFF}\\x{1000}-\\x{109F}\\x{1780}-\\x{17FF}\\x{3040}-\\x{30FF}\\x{3400}-\\x{9FFF}\\x{F900}-\\x{FAFF}])|[^\\x00-\\x7F\\pL\\pN\\pM]+', ' \\1 '))
        TYPE text(tokenizer = splitByNonAlpha),
    ADD INDEX IF NOT EXISTS ix_answer_words
        lowerUTF8(replaceRegexpAll(answer_text, '([\\x{E00}-\\x{EFF}\\x{1000}-\\x{109F}\\x{1780}-\\x{17FF}\\x{3040}-\\x{30FF}\\x{3400}-\\x{9FFF}\\x{F900}-\\x{FAFF}])|[^\\x00-\\x7F\\pL\\pN\\pM]+', ' \\1 '))
        TYPE text(tokenizer = splitByNonAlpha)
    SETTINGS mutations_sync = 0, alter_sync = 0;

ALTER TABLE request_logs MATERIALIZE INDEX IF EXISTS ix_prompt_words SETTINGS mutations_sync = 0;

ALTER TABLE request_logs MATERIALIZE INDEX IF EXISTS ix_answer_words SETTINGS mutations_sync = 0;
