"""LLM: models, as flows ask them.

``ChatModel`` speaks to every OpenAI-compatible endpoint; whatever speaks the `Model` protocol can stand in
its place.
"""

from .chat import ChatModel
from .deltas import (
    Delta,
    Logprob,
    OutputDelta,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    Restarted,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from .errors import (
    ModelBusy,
    ModelCutOff,
    ModelError,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    OutputInvalid,
)
from .messages import (
    Assistant,
    Audio,
    Image,
    Message,
    Part,
    Prompt,
    System,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    User,
)
from .model import Deltas, Model
from .prices import Prices

__all__ = [
    "Assistant",
    "Audio",
    "ChatModel",
    "Delta",
    "Deltas",
    "Image",
    "Logprob",
    "Message",
    "Model",
    "ModelBusy",
    "ModelCutOff",
    "ModelError",
    "ModelRefused",
    "ModelTimeout",
    "ModelUnreachable",
    "OutputDelta",
    "OutputInvalid",
    "Part",
    "Prices",
    "Prompt",
    "ReasoningDelta",
    "RefusalDelta",
    "Reply",
    "Restarted",
    "System",
    "Text",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "ToolSpec",
    "Usage",
    "UsageDelta",
    "User",
]
