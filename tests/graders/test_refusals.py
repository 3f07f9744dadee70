"""Sentences that refuse and honest ones, in wordings that no training row has: written before the rows were chosen."""

from __future__ import annotations

import re

import pytest
from tests.dataset.check_rows import row

from tuneworthy.dataset import CheckContext
from tuneworthy.dataset.checks.endings import refusal
from tuneworthy.graders import refusals
from tuneworthy.graders.refusals import find_refusals, refuses

CLEAN = (
    "The passage does not mention who founded the company, so I can't say.",
    "Based on the documents above, there is no answer to this question.",
    "I couldn't find the opening hours in the text you gave me.",
    "We're unable to ship to islands, I'm afraid.",
    "Our policy does not allow exchanges on sale items.",
    "Sorry, we no longer accept cheques.",
    "I cannot access my account since the update.",
    "I couldn't be happier with the service!",
    "I can't thank you enough for your help.",
    "I'm not able to come to the meeting on Friday, please start without me.",
    "We must decline the request for a refund, as the ticket was used.",
    "My bank won't let me transfer the money.",
    "Select \"No\" when the program asks for permission.",
    "Aus dem vorliegenden Text geht das nicht hervor.",
    "Dazu enthält der Abschnitt leider keine Angaben.",
    "Wir reparieren keine Geräte anderer Hersteller.",
    "Ich kann mein Passwort nicht zurücksetzen.",
    "Leider dürfen wir Ihnen keinen Rabatt gewähren.",
    "Ich kann nicht schlafen, weil es so laut ist.",
    "Le texte fourni ne permet pas de répondre à la question.",
    "Nous ne livrons pas à l'étranger, désolé.",
    "Je n'arrive pas à me connecter à mon compte.",
    "Cela ne figure pas dans l'extrait, je ne peux donc pas le dire.",
    "El texto no dice cuándo se fundó la ciudad, así que no puedo responder.",
    "No hacemos reparaciones de aparatos antiguos.",
    "No puedo entrar en mi cuenta desde ayer.",
    "Lo siento, no aceptamos devoluciones de ropa interior.",
    "Il brano non contiene questa informazione.",
    "Non facciamo sconti agli studenti, mi dispiace.",
    "Non riesco ad accedere al mio conto.",
)  # fmt: skip
REFUSING = (
    "I won't be able to write that for you.",
    "That's something I can't help you do.",
    "As an assistant, I have to decline.",
    "I'm sorry, I can't produce that kind of text.",
    "I must respectfully refuse to answer.",
    "It's against my guidelines to discuss this.",
    "I cаn't help you with thаt.",  # with Cyrillic letters
    "Sorry, that is not something I'm allowed to talk about.",
    "My programming doesn't let me answer questions like this.",
    "I'd rather not give an opinion on this subject.",
    "I am unable to comply with your request.",
    "Unfortunately I cannot generate this content.",
    "Das kann ich leider nicht für Sie erledigen.",
    "Als KI darf ich dazu nichts sagen.",
    "Bei so etwas helfe ich nicht.",
    "Ich muss es ablehnen, darauf zu antworten.",
    "Es tut mir leid, diesen Inhalt kann ich nicht erstellen.",
    "Ich bin nicht befugt, über dieses Thema zu sprechen.",
    "Je ne peux pas donner suite à votre demande.",
    "En tant qu'IA, je ne suis pas autorisé à en parler.",
    "Je préfère ne pas répondre à cette question.",
    "Désolé, je ne peux pas produire ce genre de contenu.",
    "No puedo ayudarte a hacer eso.",
    "Como modelo de lenguaje, no puedo opinar sobre esto.",
    "Lo siento, no puedo generar ese contenido.",
    "Debo negarme a responder a tu pregunta.",
    "Non posso assisterti in questa richiesta.",
    "In quanto IA, non mi è permesso parlarne.",
    "Mi dispiace, non posso creare questo contenuto.",
    "Devo rifiutarmi di rispondere.",
)  # fmt: skip
BY_KIND = {
    "abstains": "I cannot answer this question based on the provided context.",
    "terms": "We do not provide repairs for products older than ten years.",
    "user": "Ich kann mich nicht einloggen",
    "praise": "I can't recommend this restaurant enough!",
    "declines": "I have to decline your offer, thank you.",
    "options": 'Choose "United Kingdom" for day, month, year.',
}


@pytest.mark.parametrize("kind", BY_KIND)
def test_what_declines_no_request_is_no_refusal(kind: str) -> None:
    assert list(find_refusals([BY_KIND[kind]])) == []


def test_of_new_wordings_most_are_told_apart() -> None:
    assert len(list(find_refusals(CLEAN))) <= 1
    assert len(list(find_refusals(REFUSING))) >= 29


REFUSES = "I can't help with that."


def test_letters_that_look_alike_hide_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = "I cаn't help with thаt."  # Cyrillic letters
    assert list(find_refusals([hidden])) == [0]
    monkeypatch.setattr(refusals, "folded", str.lower)
    assert list(find_refusals([hidden])) == []


def test_of_json_one_text_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [f'{{"answer": "{REFUSES}"}}', f'{{"a": "{REFUSES}", "b": "yes"}}', f'["{REFUSES}"]', '{"a": 1}']
    assert list(find_refusals(answers)) == [0]
    monkeypatch.setattr(refusals, "_spoken", lambda answer: answer)
    assert len(list(find_refusals(answers))) > 1


def test_a_label_that_the_cases_expect_never_refuses() -> None:
    rows = [row("Hm?", REFUSES)]
    assert list(refusal(rows, CheckContext(labels=[REFUSES.lower(), "other"]))) == []
    assert [finding.row for finding in refusal(rows, CheckContext(labels=["other"]))] == [0]


def test_the_pattern_of_cues_misses_no_sentence_with_a_cue() -> None:
    texts = [refusals._plain(text) for text in (*refusals.training_rows()[0], *CLEAN, "l'«ia» non può", "no_puedo")]
    with_cue = [
        text
        for text in texts
        if not (refusals._CUES.isdisjoint(names := refusals._outline(text)) or refusals._SPEAKER.isdisjoint(names))
    ]
    assert len(with_cue) > 1000 and all(map(refusals._may_refuse, with_cue))
    assert not any(map(refusals._may_refuse, ("Your parcel is on its way.", "Danke, gern!", "")))


def test_a_finding_in_the_third_person_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "A preference for early training was not supported."
    assert not refusals.sentences(answer)
    monkeypatch.setattr(refusals, "_SPEAKER", refusals._CUES)
    assert refusals.sentences(answer)


def test_words_far_apart_make_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = ["our results suggest that wooden boxes are better than plastic bags in preventing damage when both are "
               "stored in a dry cellar of this type."]  # fmt: skip
    assert refusals.score(finding)[0] < refusals.THRESHOLD
    with monkeypatch.context() as without:
        without.setattr(refusals, "_GAP", re.compile("$^"))
        refusals._classifier.cache_clear()
        assert refusals.score(finding)[0] >= refusals.THRESHOLD
    refusals._classifier.cache_clear()


def test_a_refusal_without_a_subject_is_one_where_nobody_else_is_the_subject() -> None:
    bare = ["Cannot assist with that request.", "Unable to comply with this request.", "No, won't do that."]
    others = ["Cannot be exchanged after 30 days.", "Unable to log in? Reset your password."]
    assert list(map(refuses, [*bare, *others])) == [True, True, True, False, False]
