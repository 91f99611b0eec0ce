"""Templates: from Mercately, which only ever lists them all."""

from collections.abc import Sequence

import strawberry
from strawberry.dataloader import DataLoader

from adapters.mercately import client as mercately
from resolvers.ids import key_of, to_id
from schema.context import Info
from schema.templates import Template, TemplateStatus, TemplateType, count_blanks

_STATUSES = {status.value: status for status in TemplateStatus}
_TYPES = {type.value: type for type in TemplateType}


def to_template(id: str, template: mercately.Template) -> Template:
    return Template(
        id=to_id("Template", id),
        text=template.text,
        status=_STATUSES.get(template.status, TemplateStatus.UNKNOWN),
        type=_TYPES.get(template.type, TemplateType.UNKNOWN),
        parameter_count=count_blanks(template.text),
    )


async def load_all_templates(source: mercately.Mercately, _: Sequence[None]) -> list[dict[str, Template]]:
    found = await source.templates()
    return [{id: to_template(id, template) for id, template in found.items()}]


async def load_templates(
    every: DataLoader[None, dict[str, Template]], ids: Sequence[str]
) -> list[Template | None]:
    found = await every.load(None)
    return [found.get(id) for id in ids]


async def list_templates(
    info: Info, status: TemplateStatus | None = strawberry.UNSET
) -> list[Template] | None:
    found = (await info.context.loaders.templates.load(None)).values()
    return [template for template in found if not status or template.status is status]


async def find_template(info: Info, id: strawberry.ID) -> Template | None:
    return await info.context.loaders.template.load(key_of(id, "Template"))
