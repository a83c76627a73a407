"""What Gemini answers with, as far as it means anything here. Unknown fields are ignored, all others may be missing."""

from typing import Final

import msgspec


class InlineData(msgspec.Struct, rename="camel"):
    """`data` is base64."""

    mime_type: str = ""
    data: str = ""


class FunctionCall(msgspec.Struct, rename="camel"):
    id: str = ""
    name: str = ""
    args: msgspec.Raw = msgspec.Raw(b"{}")


class Executable(msgspec.Struct, rename="camel"):
    code: str = ""
    language: str = ""


class ExecutionResult(msgspec.Struct, rename="camel"):
    output: str = ""


class Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    thought_signature: str = ""
    inline_data: InlineData | None = None
    function_call: FunctionCall | None = None
    executable_code: Executable | None = None
    code_execution_result: ExecutionResult | None = None


class Content(msgspec.Struct):
    parts: list[Part] = []


class Token(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class TopTokens(msgspec.Struct):
    candidates: list[Token] = []


class Logprobs(msgspec.Struct, rename="camel"):
    chosen_candidates: list[Token] = []
    top_candidates: list[TopTokens] = []


class WebSource(msgspec.Struct):
    uri: str = ""
    title: str = ""


class GroundingChunk(msgspec.Struct):
    web: WebSource | None = None


class Grounding(msgspec.Struct, rename="camel"):
    grounding_chunks: list[GroundingChunk] = []
    web_search_queries: list[str] = []
    image_search_queries: list[str] = []


class Candidate(msgspec.Struct, rename="camel"):
    content: Content = msgspec.field(default_factory=Content)
    finish_reason: str = ""
    finish_message: str = ""
    index: int = 0
    logprobs_result: Logprobs | None = None
    grounding_metadata: Grounding | None = None


class ModalityCount(msgspec.Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class UsageMetadata(msgspec.Struct, rename="camel"):
    """`service_tier` is the Gemini API's, `traffic_type` Vertex AI's word for the same."""

    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    cached_content_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    total_token_count: int = 0
    prompt_tokens_details: list[ModalityCount] = []
    cache_tokens_details: list[ModalityCount] = []
    candidates_tokens_details: list[ModalityCount] = []
    service_tier: str = ""
    traffic_type: str = ""


class PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str = ""
    block_reason_message: str = ""


class GenerateResponse(msgspec.Struct, rename="camel"):
    candidates: list[Candidate] = []
    usage_metadata: UsageMetadata | None = None
    prompt_feedback: PromptFeedback | None = None
    model_version: str = ""
    response_id: str = ""
    error: msgspec.Raw = msgspec.Raw(b"")


class Statistics(msgspec.Struct):
    token_count: float = 0.0


class Embedding(msgspec.Struct):
    values: msgspec.Raw = msgspec.Raw(b"[]")
    statistics: Statistics | None = None


class Prediction(msgspec.Struct, rename="camel"):
    """One of `:predict`: a picture, or an embedding."""

    bytes_base64_encoded: str = ""
    mime_type: str = ""
    prompt: str = ""
    rai_filtered_reason: str = ""
    embeddings: Embedding | None = None


class EmbedResponse(msgspec.Struct, rename="camel"):
    """Of `:batchEmbedContents` (embeddings) and `:embedContent` (embedding)."""

    embeddings: list[Embedding] | None = None
    embedding: Embedding | None = None
    usage_metadata: UsageMetadata | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


class PredictResponse(msgspec.Struct, rename="camel"):
    predictions: list[Prediction] = []
    error: msgspec.Raw = msgspec.Raw(b"")


generate_response: Final = msgspec.json.Decoder(GenerateResponse, strict=False)
embed_response: Final = msgspec.json.Decoder(EmbedResponse, strict=False)
predict_response: Final = msgspec.json.Decoder(PredictResponse, strict=False)
