-- Why:  what decided a price and stood in the event alone: writes kept for an hour, images, searches, tier, quality and size.
-- Cost: metadata only: old parts are not rewritten, their rows read as 0 or empty.

ALTER TABLE request_logs
    ADD COLUMN IF NOT EXISTS cache_write_1h_tokens   UInt64 CODEC(T64, ZSTD(1)) AFTER cache_write_tokens,
    ADD COLUMN IF NOT EXISTS prompt_image_tokens     UInt64 CODEC(T64, ZSTD(1)) AFTER prompt_audio_tokens,
    ADD COLUMN IF NOT EXISTS completion_image_tokens UInt64 CODEC(T64, ZSTD(1)) AFTER completion_audio_tokens,
    ADD COLUMN IF NOT EXISTS searches                UInt64 CODEC(T64, ZSTD(1)) AFTER audio_ms,
    ADD COLUMN IF NOT EXISTS search_units            UInt64 CODEC(T64, ZSTD(1)) AFTER searches,
    ADD COLUMN IF NOT EXISTS service_tier            LowCardinality(String) AFTER price_version,
    ADD COLUMN IF NOT EXISTS image_quality           LowCardinality(String) AFTER service_tier,
    ADD COLUMN IF NOT EXISTS image_size              LowCardinality(String) AFTER image_quality;

CREATE OR REPLACE VIEW requests AS
SELECT
    request_id, started_at, ended_at, gateway_id,
    virtual_key_id, virtual_key_name, end_user, chat_id, task, client,
    endpoint, provider, model, requested_model, stream,
    status, http_status, error_code, error_message, finish_reason,
    prompt_tokens, completion_tokens, cached_read_tokens, cache_write_tokens, reasoning_tokens,
    prompt_audio_tokens, completion_audio_tokens, images, characters, audio_ms,
    cost, cost_basis, price_version,
    latency_ms, ttft_ms,
    request, request_bytes, response, response_kind, response_bytes, attempts,
    prompt_text, answer_text,
    cache_write_1h_tokens, prompt_image_tokens, completion_image_tokens, searches, search_units,
    service_tier, image_quality, image_size
FROM request_logs FINAL;
