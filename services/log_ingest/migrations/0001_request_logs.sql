-- Why:  one row per request, found by time, by id and by the words of the conversation; bodies expire before metadata.
-- Cost: creates an empty table: none.

CREATE TABLE IF NOT EXISTS request_logs
(
    started_at        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    request_id        String CODEC(ZSTD(1)),
    -- 1: settled for a dead gateway, metadata only. 2: the logged exchange, which supersedes it.
    version           UInt8,
    ended_at          DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    gateway_id        LowCardinality(String),
    virtual_key_id    LowCardinality(String),
    virtual_key_name  LowCardinality(String),
    endpoint          LowCardinality(String),
    provider          LowCardinality(String),
    model             LowCardinality(String),
    requested_model   LowCardinality(String),
    stream            Bool,
    end_user          String CODEC(ZSTD(1)),
    chat_id           String CODEC(ZSTD(1)),
    task              LowCardinality(String),
    client            LowCardinality(String),
    status            LowCardinality(String),
    http_status       UInt16,
    error_code        LowCardinality(String),
    error_message     String CODEC(ZSTD(1)),
    finish_reason     LowCardinality(String),
    prompt_tokens     UInt64 CODEC(T64, ZSTD(1)),
    completion_tokens UInt64 CODEC(T64, ZSTD(1)),
    cached_read_tokens      UInt64 CODEC(T64, ZSTD(1)),
    cache_write_tokens      UInt64 CODEC(T64, ZSTD(1)),
    reasoning_tokens        UInt64 CODEC(T64, ZSTD(1)),
    prompt_audio_tokens     UInt64 CODEC(T64, ZSTD(1)),
    completion_audio_tokens UInt64 CODEC(T64, ZSTD(1)),
    images            UInt64 CODEC(T64, ZSTD(1)),
    characters        UInt64 CODEC(T64, ZSTD(1)),
    audio_ms          UInt64 CODEC(T64, ZSTD(1)),
    -- USD; NULL when nobody knows the price.
    cost              Nullable(Decimal(18, 9)) CODEC(ZSTD(1)),
    cost_basis        LowCardinality(String),
    price_version     LowCardinality(String),
    latency_ms        UInt64 CODEC(T64, ZSTD(1)),
    ttft_ms           Nullable(UInt64) CODEC(ZSTD(1)),
    attempts          String CODEC(ZSTD(3)),
    request           String CODEC(ZSTD(3)) TTL toDateTime(started_at) + INTERVAL 30 DAY,
    request_bytes     UInt64 CODEC(T64, ZSTD(1)),
    response          String CODEC(ZSTD(3)) TTL toDateTime(started_at) + INTERVAL 30 DAY,
    response_kind     LowCardinality(String),
    response_bytes    UInt64 CODEC(T64, ZSTD(1)),
    prompt_text       String CODEC(ZSTD(3)) TTL toDateTime(started_at) + INTERVAL 30 DAY,
    answer_text       String CODEC(ZSTD(3)) TTL toDateTime(started_at) + INTERVAL 30 DAY,
    -- Where in the event log the row came from: a new consumer resumes after the largest.
    source_topic      LowCardinality(String),
    source_partition  UInt16 CODEC(Delta, ZSTD(1)),
    source_offset     UInt64 CODEC(Delta, ZSTD(1)),
    inserted_at       DateTime('UTC') DEFAULT now() CODEC(Delta, ZSTD(1)),

    INDEX ix_request_id  request_id       TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_key_id      virtual_key_id   TYPE set(256) GRANULARITY 1,
    INDEX ix_key_name    virtual_key_name TYPE set(256) GRANULARITY 1,
    INDEX ix_end_user    end_user         TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_chat_id     chat_id          TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_error_code  error_code       TYPE set(64) GRANULARITY 1,
    INDEX ix_inserted_at inserted_at      TYPE minmax GRANULARITY 1,
    INDEX ix_prompt_text lowerUTF8(prompt_text) TYPE text(tokenizer = splitByNonAlpha),
    INDEX ix_answer_text lowerUTF8(answer_text) TYPE text(tokenizer = splitByNonAlpha)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMMDD(started_at)
ORDER BY (started_at, request_id)
TTL toDateTime(started_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000,
         ttl_only_drop_parts = 1,
         index_granularity_bytes = 67108864;
