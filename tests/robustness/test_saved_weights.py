"""Files of ``torch.save`` as torch reads them; damaged ones and code are named."""

import pickle
import resource
import zipfile

import pytest
import torch
from helpers.damage import GOOD, program

from reid_dcs import InputError
from reid_dcs.weights import read_weights


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "old"])
def test_what_torch_saves_is_read_as_torch_reads_it(zipped, protocol, tmp_path):
    torch.manual_seed(0)
    x = torch.randn(6, 4)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    content = {
        "state_dict": network.to(memory_format=torch.channels_last).state_dict(),
        "views": [x.t(), x[2:], x[:, 1], x[0, 0], torch.zeros(0, 3), torch.nn.Parameter(x)],
        "types": {str(t): x.to(t) for t in (torch.half, torch.bfloat16, torch.long, torch.bool)},
        "optimizer": optimizer.state_dict(),
        "rng": [torch.get_rng_state()],
        "plain": {"a": (1, -2.5, None, True, "é", b"\x00", 2**60), "b": [{"c": []}], 3: {1, 2}},
    }
    path = tmp_path / "file.pt"
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert_same(torch.load(path, weights_only=False), read_weights(path))


def assert_same(expected: object, found: object) -> None:
    if isinstance(expected, torch.Tensor):
        assert expected.dtype == found.dtype and expected.stride() == found.stride()
        assert torch.equal(expected.detach(), found) and not found.requires_grad
    elif isinstance(expected, dict):
        assert [*expected] == [*found]
        for key, value in expected.items():
            assert_same(value, found[key])
    elif isinstance(expected, list | tuple):
        assert type(expected) is type(found) and len(expected) == len(found)
        for pair in zip(expected, found, strict=True):
            assert_same(*pair)
    else:
        assert expected == found and type(expected) is type(found)


def test_tensors_that_share_a_storage_share_it_again(tmp_path):
    x = torch.zeros(4)
    torch.save({"a": x[:2], "b": x}, tmp_path / "shared.pt")
    state = read_weights(tmp_path / "shared.pt")["state_dict"]
    state["b"][0] = 7
    assert state["a"][0] == 7


def test_a_flipped_bit_of_an_archive_is_found(tmp_path):
    torch.save({"weight": torch.ones(1000)}, tmp_path / "file.pt")
    whole = bytearray((tmp_path / "file.pt").read_bytes())
    place = whole.index(torch.ones(100).numpy().tobytes())
    whole[place + 99] ^= 4
    (tmp_path / "file.pt").write_bytes(whole)
    with pytest.raises(InputError, match="damaged"):
        read_weights(tmp_path / "file.pt")


def test_an_archive_that_unpacks_to_far_more_is_refused_at_once(tmp_path):
    for title, compression in (("bomb", zipfile.ZIP_DEFLATED), ("many", zipfile.ZIP_STORED)):
        path = tmp_path / f"{title}.pt"
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr("archive/data.pkl", program(GOOD))
            if title == "bomb":
                file.writestr("archive/data/0", bytes(2**26))
            else:  # every member has the same bytes
                file.writestr("archive/data/0", bytes(2**20))
                file.filelist += [file.getinfo("archive/data/0")] * 100
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(InputError, match="not a file of weights, or it is damaged"):
            read_weights(path)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15  # kB


class CallsPrint:
    def __reduce__(self):
        return print, ("never",)


def test_code_is_named(tmp_path):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"a": CallsPrint()}, 2))
    with pytest.raises(InputError, match="not a file of weights"):
        read_weights(tmp_path / "evil.pt")
    torch.save({"state_dict": {"a": torch.ones(1)}, "b": CallsPrint()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="it calls .*print, which is never run"):
        read_weights(tmp_path / "evil.pt")
