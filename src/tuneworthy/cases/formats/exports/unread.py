"""Tools whose logs and exports are recognised by their keys but not read."""

import re
from collections.abc import Set
from typing import Final

# One tool per line, and keys that together appear in no other format's rows.
_TABLE: Final = """
MLflow traces: trace_id trace_metadata
MLflow traces: request_id request_metadata execution_time_ms
W&B Weave calls: op_name started_at
Braintrust logs: root_span_id span_attributes
Arize Phoenix spans: context.span_id
Opik traces: feedback_scores start_time
Humanloop logs: evaluator_logs
PromptLayer requests: request_response
Datadog LLM spans: ml_app
AWS Bedrock invocation logs: schemaType modelId
OpenTelemetry metrics: resourceMetrics
OpenTelemetry profiles: resourceProfiles
Jaeger traces: traceID processes
Zipkin spans: traceId localEndpoint
OpenAI Assistants messages: thread_id assistant_id
OpenAI Realtime events: event_id item_id response_id
ChatGPT data export: mapping current_node
Claude.ai data export: chat_messages
OpenAI Agents traces: object workflow_name group_id
Pydantic AI events: event_kind
CrewAI events: crew_name agent_role task_name
SWE-agent trajectory: agent message_type
OpenHands events: kind source system_prompt
Goose log: message_id content_json
opencode log: aggregate_id data
Codex exec events: type thread_id item
pi session log: modelId thinkingLevel
Continue session: workspaceDirectory history
Cursor log: role message
Aider events: event properties
GitHub Copilot log: type data parentId
GitHub Copilot log: kind v
Gemini CLI log: sessionId messages
GitHub Copilot chat export: requesterUsername requests
Cline log: ts say
Open WebUI export: chat user_id share_id
Slack export: ts user text team
Discord export: guild channel messages
Rasa tracker: sender_id events
Dialogflow log: queryResult
Label Studio export: annotations data
Argilla records: fields responses
OpenAssistant trees: message_tree_id
UltraFeedback rows: instruction completions
Chatbot Arena rows: conversation_a conversation_b
SHP rows: human_ref_A human_ref_B
traces of an unknown tool: trace_id span_id
traces of an unknown tool: traceId spanId
"""
_UNREAD: Final = [(title, frozenset(marks.split())) for title, marks in re.findall(r"(.+): (.+)", _TABLE)]


def unread(keys: Set[str]) -> str | None:
    """Return the title of the tool whose rows have these keys, if its rows are not read."""
    return next((title for title, marks in _UNREAD if marks <= keys), None)
