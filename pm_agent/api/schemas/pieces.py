"""What inputs are made of: their bases, limits, and the fields that many of them have."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

MAX_TITLE = 200
MAX_TEXT = 20_000
MAX_LIST = 50
MAX_PAGE = 100
MAX_INT = 2**53 - 1  # what JSON readers keep exactly
PriorityWord = Literal["low", "normal", "high", "urgent"]


class Input(BaseModel):
    """Base of all inputs: unknown fields are refused, so that a typing error is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _numbers: ClassVar[tuple[str, ...]] = ()  # fields that take numbers

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        taken = {
            name: get_args(f.annotation) or (f.annotation,) for name, f in cls.model_fields.items()
        }
        cls._numbers = tuple(n for n, kinds in taken.items() if {int, float} & {*kinds})

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, given: Any) -> Any:
        """Python and pydantic would take it for 1; as a word it is refused, by its field's name."""
        if isinstance(given, dict):
            wrong = [name for name in cls._numbers if isinstance(given.get(name), bool)]
            if wrong:
                return given | {name: str(given[name]).lower() for name in wrong}
        return given


class Query(Input):
    """An operation that reads."""


class LongAnswer(Input):
    """An operation whose answer can be long; `pm_agent.api.concise` says what is left out."""

    response_format: Literal["concise", "detailed"] | None = Field(
        None,
        description="'detailed': texts and lists in full. 'concise' cuts long ones and says so; it "
        "is what tools answer unless asked otherwise.",
    )


class Write(Input):
    """An operation that changes something."""

    request_id: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Your id for this request; sent again with the same id it takes effect once.",
    )


# Of texts that are trimmed and must not be empty then; only said, since trimming comes first.
# A next line, U+0085, is trimmed, though patterns do not count it as a space.
NOT_BLANK: dict[str, Any] = {"pattern": r"[^\s\x85]"}
NAMED: dict[str, Any] = {"pattern": "[A-Za-z0-9]"}  # an id has to follow from it
Trimmed = Annotated[str, StringConstraints(strip_whitespace=True)]
ShortText = Annotated[str, Field(max_length=1_000)]
Label = Annotated[Trimmed, Field(min_length=1, max_length=60, json_schema_extra=NOT_BLANK)]
Link = Annotated[str, Field(min_length=1, max_length=2_000)]
ItemId = Annotated[str, Field(min_length=1, max_length=100)]
AgentId = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        description="Id of the agent, such as 'A-ada'. May be left out when your access token is "
        "an agent's own: then it is you.",
    ),
]
TaskId = Annotated[
    str, Field(min_length=1, max_length=64, description="Id of the task, such as 'T-142'.")
]
ProjectId = Annotated[
    str, Field(min_length=1, max_length=64, description="Id of the project, such as 'P-web'.")
]
OneProject = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        description="Only tasks of this project, such as 'P-web'. Left out: any project.",
    ),
]
LeaseToken = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_INT,
        description="The lease_token you got with the task; it proves that the task is yours.",
    ),
]
OptionalLeaseToken = Annotated[
    int | None,
    Field(
        ge=0,
        le=MAX_INT,
        description="The lease_token you got with the task. Agents must give it; people need not.",
    ),
]
LateToken = Annotated[
    int | None,
    Field(
        ge=0,
        le=MAX_INT,
        description="Judge late work instead: its lease_token among the task's candidates.",
    ),
]
Cursor = Annotated[
    str,
    Field(
        max_length=200,
        pattern="^[A-Za-z0-9_-]*$",
        description="next_cursor of the page before; good for the same filters.",
    ),
]
ExpectedVersion = Annotated[
    int | None,
    Field(
        ge=0,
        le=MAX_INT,
        description="The version you read; the change is refused if there is another one since.",
    ),
]
Reason = Annotated[str, Field(max_length=2_000, description="Why, in a sentence.")]


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class AgentSkill(Input):
    """A skill an agent has."""

    name: Trimmed = Field(
        min_length=1,
        json_schema_extra=NOT_BLANK,
        max_length=40,
        description="Such as 'python' or 'sql'.",
    )
    level: int = Field(3, ge=1, le=5, description="1 novice to 5 expert.")


class TaskSkill(Input):
    """A skill a task requires."""

    name: Trimmed = Field(
        min_length=1,
        json_schema_extra=NOT_BLANK,
        max_length=40,
        description="Such as 'python' or 'sql'.",
    )
    level: int = Field(1, ge=1, le=5, description="Least level required, 1 to 5.")


# A plain string for a skill's name; that only says what the name's own limits refuse.
SkillName = Annotated[str, Field(json_schema_extra={"pattern": r"^[^\s\x85](.{0,38}[^\s\x85])?$"})]
AgentSkills = list[
    Annotated[AgentSkill, BeforeValidator(_named, json_schema_input_type=AgentSkill | SkillName)]
]
TaskSkills = list[
    Annotated[TaskSkill, BeforeValidator(_named, json_schema_input_type=TaskSkill | SkillName)]
]
