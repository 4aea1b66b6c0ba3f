import shutil

import torch
from torch import nn
from torch.utils.data import Dataset

from recipes.mini.averaged import Averaged, train_averaged


class Numbers(Dataset):
    def __len__(self):
        return 120

    def __getitem__(self, place):
        return torch.sin(torch.arange(3.0) * (place + 1))


def error(model, batch):
    return (model(batch["numbers"]) - batch["numbers"].sum(1, keepdim=True)).square().mean()


def trained(output, seed=0):
    torch.manual_seed(seed)
    model = Averaged(nn.Linear(3, 1), decay=0.9)
    start = model.live.weight.clone()
    train_averaged(
        model,
        Numbers(),
        lambda items: {"numbers": torch.stack(items)},
        error,
        output=output,
        batch_size=4,
        optimizer=torch.optim.AdamW(model.live.parameters(), lr=0.1),
        seed=1,
    )
    return model, start


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path):
    whole, start = trained(tmp_path / "whole")
    assert not torch.equal(whole.live.weight, start)
    assert sorted(path.name for path in (tmp_path / "whole").glob("checkpoint-*")) == ["checkpoint-25", "checkpoint-30"]
    shutil.copytree(tmp_path / "whole" / "checkpoint-25", tmp_path / "cut" / "checkpoint-25")
    (tmp_path / "cut" / ".unfinished" / "checkpoint-27").mkdir(parents=True)  # killed while it saved
    resumed, _ = trained(tmp_path / "cut", seed=9)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, atol=1e-6, rtol=0, msg=name)


def test_the_average_lags_behind_and_is_what_evaluation_uses():
    model = Averaged(nn.Linear(1, 1, bias=False), decay=0.9)
    for weight in (0.0, 1.0):  # the first update copies
        nn.init.constant_(model.live.weight, weight)
        model.average.update_parameters(model.live)
    ones = torch.ones(1, 1)
    assert model.train()(ones).item() == 1.0 and abs(model.eval()(ones).item() - 0.1) < 1e-6
