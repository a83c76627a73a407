-- Why:  a stable, documented name for people's own SQL: each request once, columns that are only ever added to.
-- Cost: a view holds no data: none.

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
    prompt_text, answer_text
FROM request_logs FINAL;
