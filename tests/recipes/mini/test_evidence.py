from emotion_qwen.faces.face_claims import PHRASES as FACE_PHRASES
from emotion_qwen.media.voice_claims import PHRASES as VOICE_PHRASES
from emotion_qwen.taxonomy import CONCEPTS
from recipes.mini.evidence import SPEAKS_FOR, emotions_of, speaking_against, speaking_for


def test_evidence_is_about_known_observations_and_concepts():
    known = {*FACE_PHRASES, *VOICE_PHRASES}
    assert set(SPEAKS_FOR) <= set(CONCEPTS)
    assert all(word in known for words in SPEAKS_FOR.values() for word in words)
    assert emotions_of("lips pressed") == {"anger", "contempt"}
    words = ["broad smile", "lips pressed", "mouth closed"]
    assert speaking_for("happiness", words) == ["broad smile"]
    assert speaking_against("happiness", words) == ["lips pressed", "mouth closed"]
    assert speaking_against("neutral", words) == ["broad smile", "lips pressed"]
