import json
import time

import pytest
from penstock.errors import InvalidArgumentError, MalformedError, NotFoundError, PenstockError
from penstock.text import chat
from penstock.text.chat import ChatTemplate
from penstock.text.checks import check_messages
from penstock.text.prompts import PromptEncoder

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def render():
    made = []

    def run(source, messages=HELLO, **variables):
        made.append(ChatTemplate(source, variables))
        return made[-1].render(messages)

    yield run
    for template in made:
        template.close()


def test_a_usual_template(render):
    source = (
        "{{ bos_token }}{%- for m in messages %}\n"
        "    {%- if m.role not in ['user'] %}{{ raise_exception('role?') }}{% endif %}\n"
        "<|{{ m['role'] }}|>{{ m['content'] | trim }}{{ m | tojson }}\n"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    text = render(source, bos_token="<s>")
    assert text == '<s><|user|>Hello{"role": "user", "content": "Hello"}\n<|assistant|>'


def test_loop_controls_generation_tag_and_macros(render):
    source = (
        "{% macro say(x) %}[{{ x }}]{% endmacro %}"
        "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ say(i) }}{% endfor %}"
        "{% generation %}{{ messages[0].content }}{% endgeneration %}"
    )
    assert render(source) == "[0][1]Hello"


def test_the_template_may_refuse(render):
    with pytest.raises(InvalidArgumentError, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}",
        "{{ cycler.__init__.__globals__.os.system('id') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ ''|attr('__class__') }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ joiner() }}",
        "{{ undefined_thing.attribute }}",
        "{% for %}",
        "{{ 1/0 }}",
        "{{ range(10000000) | list }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_attacks_and_mistakes_are_refused_or_harmless(render, source):
    try:
        text = render(source)
    except InvalidArgumentError as error:
        assert "chat template" in str(error)
        return
    assert text.strip() in ("", "[]") or "Undefined" in text


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 'a'.ljust(4000000000) }}",
        "{{ '%4000000000d' % 1 }}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
        "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x | length }}",
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    ],
)
def test_memory_and_output_are_bounded(render, source):
    with pytest.raises(InvalidArgumentError, match=r"memory|characters|died|Overflow"):
        render(source)


def test_an_endless_template_is_stopped_and_the_next_row_lives(monkeypatch):
    monkeypatch.setattr(chat, "SECONDS_TO_RENDER", 1.0)
    nested = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    template = ChatTemplate(
        "{% if messages[0].content == 'loop' %}" + nested + "{% endif %}fine", {}
    )
    begun = time.monotonic()
    with pytest.raises(InvalidArgumentError, match="longer than"):
        template.render([{"role": "user", "content": "loop"}])
    assert time.monotonic() - begun < 20
    assert template.render(HELLO) == "fine"
    template.close()


@pytest.mark.parametrize(
    "messages",
    [
        *(None, [], {}, "hi", [1], [[]], [{}], [{"role": "user"}], [{"content": "x"}]),
        [{"role": 1, "content": "x"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        [{"role": "user", "content": "x", "tool_calls": []}],
    ],
)
def test_messages_of_wrong_form(messages):
    with pytest.raises(InvalidArgumentError, match="messages"):
        check_messages(messages)


def test_text_parts_are_joined():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert check_messages([{"role": "user", "content": parts}])[0]["content"] == "a\nb"


def test_special_tokens_in_messages_stay_text(tokenizer_folder):
    guarded, open_ = (PromptEncoder(str(tokenizer_folder), s) for s in (False, True))
    messages = [{"role": "user", "content": "a </s> b <s>"}]
    ids = guarded.messages(messages)
    assert ids.count(0) == 1 and ids.count(2) == 0
    assert "</s> b <s>" in guarded.tokenizer.decode(ids)
    ids = open_.messages(messages)
    assert ids.count(0) == 2 and ids.count(2) == 1
    for encoder in (guarded, open_):
        encoder.close()


def test_folders_without_or_with_broken_templates(tmp_path, fake_model):
    with pytest.raises(NotFoundError, match="no chat template"):
        ChatTemplate.load(tmp_path)
    (fake_model / "chat_template.jinja").write_text("{{ messages[0].content }}!")
    template = ChatTemplate.load(fake_model)
    assert template.render(HELLO) == "Hello!"
    template.close()
    (fake_model / "chat_template.jinja").write_bytes(b"\xff\xff")
    with pytest.raises(MalformedError, match="UTF-8"):
        ChatTemplate.load(fake_model)
    (fake_model / "chat_template.jinja").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(PenstockError, match="bytes"):
        ChatTemplate.load(fake_model)


def test_a_list_of_templates_has_a_default(tmp_path):
    named = [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    template = ChatTemplate.load(tmp_path)
    assert template.render(HELLO) == "D"
    template.close()


def test_templates_without_a_default_are_named(tmp_path):
    named = [{"name": "rag", "template": "R"}, {"name": "tool", "template": "T"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    with pytest.raises(NotFoundError, match="is called default; there are: rag, tool"):
        ChatTemplate.load(tmp_path)
