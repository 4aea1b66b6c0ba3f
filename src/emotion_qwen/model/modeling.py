"""The whole model: Qwen2.5-VL with the Hybrid Compressor in place of its merger. The only code besides `vision.py` and
`compressor.py` that extends transformers' classes.

    pixels --vision transformer--> patch features --Hybrid Compressor--> visual tokens + fusion weights log-mel
    --Whisper's encoder, compressor--> audio tokens (in models with audio input) patch features --head--> facial actions
    (in models that measure them) visual, audio and text tokens --language model with multimodal rotary positions-->
    answer
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLModel,
)
from transformers.vision_utils import get_vision_window_index

from emotion_qwen.errors import CheckpointError, SettingsError, ShapeError, unknown_choice
from emotion_qwen.model import positions
from emotion_qwen.model.actions import FacialActionHead
from emotion_qwen.model.audio import AudioFeatures, EmotionQwenAudioTower
from emotion_qwen.model.compressor import HybridCompressor
from emotion_qwen.model.configuration import GATE_MODES, EmotionQwenConfig
from emotion_qwen.model.folder import check_folder, key_faults
from emotion_qwen.model.vision import EmotionQwenVisionTransformer

IGNORE = -100  # label of a token without supervision
SOUND = ("input_features", "feature_lengths")
MEDIA = ("pixel_values", "pixel_values_videos", "input_features")


@dataclass
class VisualFeatures(BaseModelOutputWithPooling):
    """Encoded visuals.

    Attributes:
        last_hidden_state: (N, vision hidden) patch features in window order.
        pooler_output: one (tokens, hidden) tensor per visual.
        gate_weights: (V, 2) fusion weights, general and emotion, fp32.
        actions: (V, A) facial actions in fp32, in the order of `EmotionQwenConfig.facial_actions`; None in training,
            and for a model without that head.
    """

    gate_weights: torch.Tensor | None = None
    actions: torch.Tensor | None = None


@dataclass
class SupervisedOutput(CausalLMOutputWithPast):
    """Output of a training step.

    Attributes:
        loss: sum over the supervised tokens, divided by their number in the whole accumulated batch.
        logits: (M, vocabulary) fp32 logits of the M supervised tokens, row by row.
        gate_weights: (V, 2) fusion weights of all visuals, images first, fp32; None without visuals.
    """

    gate_weights: torch.Tensor | None = None


class EmotionQwenModel(Qwen2_5_VLModel):
    """Vision transformer, Hybrid Compressor, audio tower if configured, and language model; no output projection."""

    config_class = EmotionQwenConfig

    def __init__(self, config: EmotionQwenConfig) -> None:
        super().__init__(config)
        self.visual = EmotionQwenVisionTransformer._from_config(config.vision_config)
        self.compressor = HybridCompressor(config)
        if config.hearing is not None:
            self.audio = EmotionQwenAudioTower(config.hearing, config.text_config.hidden_size)
        if config.facial_actions is not None:
            self.actions = FacialActionHead(config.vision_config.hidden_size, len(config.facial_actions))
        self.post_init()

    @functools.wraps(Qwen2_5_VLModel.forward, assigned=())  # its parameters, but our docstring
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        *,
        input_features: torch.Tensor | None = None,
        feature_lengths: torch.Tensor | None = None,
        **inputs: Any,
    ) -> Any:
        """Run as in transformers, after replacing placeholders by audio tokens.

        Args:
            input_ids: (B, L) token ids.
            input_features: (W, mels, frames) log-mel windows of all sounds in reading order; None without sound, or if
                `mm_encoder_outputs` contains "audio".
            feature_lengths: (W,) number of frames with sound in each window.
            inputs: all other arguments of transformers' model.

        Raises:
            ShapeError: the numbers of audio tokens and placeholders differ, or placeholders have no medium.
        """
        self._check_media(input_ids, {"input_features": input_features, **inputs})
        encoded = (inputs.get("mm_encoder_outputs") or {}).get("audio")
        if encoded is None and input_features is not None:
            encoded = self.get_audio_features(input_features, feature_lengths)
        if encoded is not None:
            inputs["inputs_embeds"] = self._place_audio(input_ids, inputs.get("inputs_embeds"), encoded)
        return super().forward(input_ids=input_ids, **inputs)

    def _check_media(self, input_ids: torch.Tensor | None, inputs: Mapping[str, Any]) -> None:
        """Check that every kind of medium with placeholders in a prompt is present.

        Without this check, the embeddings of the placeholders would replace the medium, and a trainer that drops videos
        and sounds, such as TRL's, would train a model that does not see them, with a loss that falls all the same.

        Raises:
            ShapeError: a kind of medium is missing.
        """
        cache = inputs.get("past_key_values")
        if input_ids is None or torch.compiler.is_compiling():  # a compiled graph cannot branch on values
            return
        if cache is not None and cache.get_seq_length():
            return  # a token that continues a prompt is no medium, even if a model generates a placeholder
        encoded = inputs.get("mm_encoder_outputs") or {}
        for kind, (name, number) in {
            "image": ("pixel_values", self.config.image_token_id),
            "video": ("pixel_values_videos", self.config.video_token_id),
            "audio": ("input_features", self.config.audio_token_id),
        }.items():
            if number is None or kind in encoded or inputs.get(name) is not None:
                continue
            marks = input_ids == number
            # A placeholder alone may be a generated token; media follow their start token or fill several places.
            if (marks[:, 1:] & (marks[:, :-1] | (input_ids[:, :-1] == self.config.vision_start_token_id))).any():
                raise ShapeError(
                    f"{int(marks.sum())} {kind} placeholder(s) without {name}: the model would not see the medium; "
                    "pass what the processor returned. Trainers that drop videos and sounds (TRL) cannot train on "
                    "them: use `emotion-qwen train`"
                )

    def get_audio_features(self, input_features: torch.Tensor, feature_lengths: torch.Tensor | None) -> AudioFeatures:
        """Encode (W, mels, frames) log-mel windows with (W,) numbers of frames with sound; None means all frames.

        Raises:
            ShapeError: the model has no audio input, or the windows have a different size from the model's.
        """
        if self.config.hearing is None:
            raise ShapeError("log-mel for a model without audio input; use a model with audio input, or leave it out")
        if feature_lengths is None:
            feature_lengths = torch.full((len(input_features),), input_features.shape[-1], device=input_features.device)
        return self.audio(input_features, feature_lengths)

    def _place_audio(
        self, input_ids: torch.Tensor | None, embeds: torch.Tensor | None, encoded: AudioFeatures
    ) -> torch.Tensor:
        if input_ids is None:
            raise ShapeError("sound without input_ids, which give its position; pass the processor's input_ids")
        if embeds is None:
            embeds = self.get_input_embeddings()(input_ids)
        tokens = torch.cat(encoded.pooler_output).to(embeds.device, embeds.dtype)
        places = input_ids == self.config.audio_token_id
        if int(places.sum()) != len(tokens):
            raise ShapeError(
                f"{len(tokens)} audio tokens for {int(places.sum())} placeholders; pass the log-mel of exactly "
                "the sounds in input_ids"
            )
        return embeds.masked_scatter(places[..., None], tokens)

    def get_rope_index(
        self,
        input_ids: torch.Tensor,
        mm_token_type_ids: torch.Tensor,
        image_grid_thw: torch.Tensor | None = None,
        video_grid_thw: torch.Tensor | None = None,
        second_per_grid_ts: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **unused: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute (3, B, L) positions and (B, 1) deltas by the published rule; see `positions.get_rope_index`."""
        facts = (image_grid_thw, video_grid_thw, second_per_grid_ts, attention_mask)
        return positions.get_rope_index(self.config, input_ids, mm_token_type_ids, *facts)

    def compute_3d_position_ids(self, *args: Any, **inputs: Any) -> torch.Tensor | None:
        """Compute positions as in transformers, also without visuals."""
        return super().compute_3d_position_ids(*args, **_with_grid(inputs))

    def get_image_features(
        self, pixel_values: torch.Tensor, image_grid_thw: torch.Tensor | None = None, **kwargs: Any
    ) -> VisualFeatures:
        """Encode pictures: (N, patch values) flat patches and (V, 3) grids to `VisualFeatures`."""
        kwargs["return_dict"] = True
        return self._compress(super().get_image_features(pixel_values, image_grid_thw, **kwargs), image_grid_thw)

    def get_video_features(
        self, pixel_values_videos: torch.Tensor, video_grid_thw: torch.Tensor | None = None, **kwargs: Any
    ) -> VisualFeatures:
        """Encode videos: (N, patch values) flat patches and (V, 3) grids to `VisualFeatures`."""
        kwargs["return_dict"] = True
        return self._compress(super().get_video_features(pixel_values_videos, video_grid_thw, **kwargs), video_grid_thw)

    def encode(
        self, inputs: Mapping[str, Any], *, dummy_forward: bool = False
    ) -> tuple[dict[str, Any], torch.Tensor | float]:
        """Encode all visuals in one call of the vision transformer and the compressor, and all sounds in one call of
        the audio encoder.

        Args:
            inputs: the output of the processor. If it has `image_features` or `video_features` (N, vision hidden)
                instead of pixels, in window order like `VisualFeatures.last_hidden_state`, only the compressor is run
                on them.
            dummy_forward: call every encoder, on a blank visual or silence if there is no input for it. Ranks of a
                sharded model wait for each other in every module, so all must call the same modules in the same order,
                whatever their batches contain.

        Returns:
            A dictionary with the keys "image", "video" and "audio", as far as present; and a zero that depends on the
            encoded blank inputs, so that the parameters of every encoder have a gradient.
        """
        visual, unused = self._encode_visuals(inputs, dummy_forward)
        sounds, lengths = inputs.get("input_features"), inputs.get("feature_lengths")
        if sounds is not None:
            return {**visual, "audio": self.get_audio_features(sounds, lengths)}, unused
        shape = self.config.hearing
        if dummy_forward and shape is not None:
            silence = torch.zeros(1, shape.num_mel_bins, shape.mel_frames, device=self.device)
            unused = unused + 0.0 * self.get_audio_features(silence, None).pooler_output[0].float().sum()
        return visual, unused

    def _encode_visuals(
        self, inputs: Mapping[str, Any], dummy_forward: bool
    ) -> tuple[dict[str, VisualFeatures], torch.Tensor | float]:
        names = {"image": "pixel_values", "video": "pixel_values_videos"}
        cached = {kind: inputs[f"{kind}_features"] for kind in names if inputs.get(f"{kind}_features") is not None}
        pixels = {
            kind: inputs[name] for kind, name in names.items() if kind not in cached and inputs.get(name) is not None
        }
        grids = {kind: inputs[f"{kind}_grid_thw"] for kind in (*pixels, *cached)}
        if dummy_forward and not pixels:
            pixels = {"blank": self._blank_visual()}
            side = self.config.vision_config.spatial_merge_size
            grids = {"blank": torch.tensor([[1, side, side]], device=self.device), **grids}
        if not grids:
            return {}, 0.0
        encoded = self._encode_together(list(pixels.values()), list(cached.values()), list(grids.values()))
        by_kind = dict(zip(grids, _split(encoded, list(grids.values())), strict=True))
        blank = by_kind.pop("blank", None)
        unused = 0.0 if blank is None else 0.0 * torch.cat(blank.pooler_output).float().sum()
        return {kind: by_kind[kind] for kind in names if kind in by_kind}, unused

    def _blank_visual(self) -> torch.Tensor:
        """Return the pixels of a visual of one merged token."""
        shape = self.config.vision_config
        values = shape.in_channels * shape.temporal_patch_size * shape.patch_size**2
        return torch.zeros(shape.spatial_merge_size**2, values, device=self.device)

    def _encode_together(
        self, pixels: list[torch.Tensor], cached: list[torch.Tensor], grids: list[torch.Tensor]
    ) -> VisualFeatures:
        """Encode the visuals given as pixels, then compress all, cached features last; grids are in that order."""
        shape = self.config.vision_config
        features, orders, tokens = list(cached), [], 0
        if pixels:
            vision = self.visual(torch.cat(pixels).to(self.visual.dtype), torch.cat(grids[: len(pixels)]))
            features.insert(0, vision.last_hidden_state)
            orders.append(vision.pooler_output)
            tokens = len(vision.pooler_output)
        if cached:
            cached_grid = torch.cat(grids[len(pixels) :])
            order, _ = get_vision_window_index(
                cached_grid, shape.spatial_merge_size, shape.window_size, shape.patch_size
            )
            orders.append(tokens + order)
        grid_thw = torch.cat(grids)
        counts = (grid_thw.prod(-1) // shape.spatial_merge_size**2).tolist()
        order = torch.cat([order.to(features[0].device) for order in orders])
        joined = torch.cat([part.to(features[0].dtype) for part in features])
        return self._compress(BaseModelOutputWithPooling(joined, order.split(counts)), grid_thw)

    def _compress(self, encoded: BaseModelOutputWithPooling, grid_thw: torch.Tensor | None) -> VisualFeatures:
        per_visual = encoded.pooler_output  # our vision transformer's window index, split by transformers
        assert grid_thw is not None  # the parent needed it to encode
        features = encoded.last_hidden_state
        tokens, weights = self.compressor(features, torch.cat(per_visual), grid_thw)
        measures = self.config.facial_actions is not None and not self.training
        return VisualFeatures(
            last_hidden_state=features,
            pooler_output=torch.split(tokens, [len(part) for part in per_visual]),
            gate_weights=weights,
            actions=self.actions(features, grid_thw) if measures else None,
        )


def _split(encoded: VisualFeatures, grids: list[torch.Tensor]) -> list[VisualFeatures]:
    """Split encoded visuals into consecutive groups, given by the (V, 3) grids of each."""
    assert encoded.last_hidden_state is not None and encoded.gate_weights is not None
    visuals = [len(grid) for grid in grids]
    features = encoded.last_hidden_state.split([int(grid.prod(-1).sum()) for grid in grids])
    ends = itertools.accumulate(visuals)
    tokens = [encoded.pooler_output[end - count : end] for end, count in zip(ends, visuals, strict=True)]
    gates = encoded.gate_weights.split(visuals)
    actions = [None] * len(visuals) if encoded.actions is None else encoded.actions.split(visuals)
    parts = zip(features, tokens, gates, actions, strict=True)
    return [VisualFeatures(f, t, gate_weights=g, actions=a) for f, t, g, a in parts]


def _with_grid(inputs: dict[str, Any]) -> dict[str, Any]:
    """Add an empty image grid if there is no visual: transformers recomputes positions only if there is a grid.

    Without it, audio alone would get no time positions, and text alone would continue the positions of an earlier call.
    """
    kinds = inputs.get("mm_token_type_ids")
    visual = inputs.get("image_grid_thw") is not None or inputs.get("video_grid_thw") is not None
    if kinds is None or visual:
        return inputs
    return {**inputs, "image_grid_thw": kinds.new_zeros(0, 3)}


class EmotionQwenForConditionalGeneration(Qwen2_5_VLForConditionalGeneration):
    """Emotion-Qwen with output projection: `generate` and the training loss.

    Load it with `from_pretrained` and prepare inputs with `EmotionQwenProcessor`. `get_image_features`,
    `get_video_features` and `encode_media` return the `gate_weights`. Encoded media can be passed to `forward` and
    `generate` as `mm_encoder_outputs`, so that several questions about them need only one pass of the encoders.

    Examples:
        model = EmotionQwenForConditionalGeneration.from_pretrained(FOLDER)
        processor = EmotionQwenProcessor.from_pretrained(FOLDER)
        content = [{"type": "image", "image": "face.jpg"}, {"type": "text", "text": "How does this person feel?"}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True
        )
        tokens = model.generate(**inputs, max_new_tokens=40)[:, inputs["input_ids"].shape[1] :]
        print(processor.post_process_image_text_to_text(tokens)[0])
    """

    config_class = EmotionQwenConfig
    # The loss is averaged over the tokens of the whole accumulated batch; otherwise 1 x 8 differs from 8 x 1.
    accepts_loss_kwargs = True

    def __init__(self, config: EmotionQwenConfig) -> None:
        # The parent's constructor would build a second language model and discard it.
        super(Qwen2_5_VLForConditionalGeneration, self).__init__(config)
        self.model = EmotionQwenModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def encode_media(self, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Encode all visuals and sounds of prepared inputs.

        Args:
            inputs: the output of the processor; `pixel_values` with `image_grid_thw`, `pixel_values_videos` with
                `video_grid_thw` and `input_features` with `feature_lengths` are used, the rest is ignored.

        Returns:
            `mm_encoder_outputs` for `forward` and `generate`: the keys "image", "video" and "audio", as far as present.
            If there are `image_features` or `video_features` (N, vision hidden) instead of pixels, they are compressed;
            if the inputs contain `mm_encoder_outputs`, these are returned.
        """
        if "mm_encoder_outputs" in inputs:
            return inputs["mm_encoder_outputs"]  # type: ignore[return-value]
        return self.model.encode(inputs)[0]

    def _prepare_position_ids_for_generation(self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]) -> Any:
        return super()._prepare_position_ids_for_generation(inputs_tensor, _with_grid(model_kwargs))

    def _validate_model_kwargs(self, model_kwargs: dict[str, Any]) -> None:
        """Allow the two audio inputs of `generate`, which the parent's forward does not name."""
        super()._validate_model_kwargs({name: value for name, value in model_kwargs.items() if name not in SOUND})

    # `generate` reads the parent's parameter names; the docstring is ours
    @functools.wraps(Qwen2_5_VLForConditionalGeneration.forward, assigned=())
    def forward(self, *args: Any, supervised_only: bool = False, **inputs: Any) -> CausalLMOutputWithPast:
        """Run as in transformers, or with `supervised_only` compute loss and logits of the supervised tokens alone."""
        return self._supervised_loss(inputs) if supervised_only else super().forward(*args, **inputs)

    def _supervised_loss(self, inputs: dict[str, Any]) -> SupervisedOutput:
        """Compute the loss; only supervised tokens are projected onto the vocabulary.

        The answer is a small part of a conversation; projecting the rest onto a vocabulary of 150 thousand would need
        more memory than the language model. Visuals may be given as pixels or as cached patch features.
        `token_weights` (B, L) weight the loss of each token; `num_items_in_batch` is then their sum over the step.
        """
        labels, count = inputs["labels"][:, 1:], inputs.get("num_items_in_batch")
        encoded, unused = self.model.encode(inputs, dummy_forward=True)
        left_out = (
            "labels", "num_items_in_batch", "token_weights", "image_features", "video_features", "feature_lengths",
            *MEDIA,
        )  # fmt: skip
        language_inputs = {key: value for key, value in inputs.items() if key not in left_out}
        embeds = self.get_input_embeddings()(inputs["input_ids"])
        # added before the language model, so that the backward pass also reaches the encoders last on all ranks
        language_inputs["inputs_embeds"] = embeds if isinstance(unused, float) else embeds + unused.to(embeds.dtype)
        outputs = self.model(**language_inputs, mm_encoder_outputs=encoded or None, use_cache=False)
        taught = labels != IGNORE
        logits = self.lm_head(outputs.last_hidden_state[:, :-1][taught]).float()
        losses = F.cross_entropy(logits, labels[taught], reduction="none")
        weights = torch.ones_like(losses)
        if (given := inputs.get("token_weights")) is not None:
            weights = given[:, 1:][taught].to(losses)
        loss = (losses * weights).sum() / (weights.sum() if count is None else count)
        gates = [encoded[kind].gate_weights for kind in ("image", "video") if kind in encoded]
        return SupervisedOutput(loss=loss, logits=logits, gate_weights=torch.cat(gates) if gates else None)

    def set_gate_mode(self, mode: str) -> None:
        """Set the gate mode to "learned", "general" or "emotion", in the running model and in its configuration.

        Raises:
            SettingsError: the gate mode is unknown; the model keeps its mode.
        """
        if mode not in GATE_MODES:
            raise SettingsError(unknown_choice("gate_mode", mode, GATE_MODES))
        self.config.gate_mode = mode
        self.model.compressor.mode = mode

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        """Load a model folder or hub name as in transformers, but refuse weights that do not fit exactly.

        Raises:
            CheckpointError: there is no model, a shard is missing, keys are missing or unexpected, or a shape differs.
        """
        if kwargs.get("state_dict") is None:
            check_folder(pretrained_model_name_or_path)
        wants_info = kwargs.pop("output_loading_info", False)
        kwargs.setdefault("use_safetensors", True)
        # transformers' own error names no key; so loading continues, and the error is raised below.
        tolerant = kwargs.pop("ignore_mismatched_sizes", False)
        model, info = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
        )
        kinds = ("missing_keys", "unexpected_keys", *(() if tolerant else ("mismatched_keys",)))
        # A mismatched key is (name, shape in the file, shape in the model).
        keys = {
            kind.replace("_", " "): sorted(
                f"{k[0]} {tuple(k[1])} instead of {tuple(k[2])}" if isinstance(k, tuple) else str(k)
                for k in info.get(kind, ())
            )
            for kind in kinds
        }
        if faults := key_faults(keys):
            raise CheckpointError(
                f"{pretrained_model_name_or_path}: the weights do not fit the model: {faults}. "
                "Expected a folder saved by Emotion-Qwen; convert other checkpoints with `emotion-qwen convert`"
            )
        return (model, info) if wants_info else model
