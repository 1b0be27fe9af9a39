"""What users wrap around a converted model: compilation, export, autocast, torch.func, DDP."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch._dynamo.testing import CompileCounter
from torch.nn.parallel import DistributedDataParallel

from spion_bench.native import library
from tests.conversion.models import LENGTH, WIDTH, batch, converted, train

WORLD = 2


@pytest.fixture(autouse=True)
def _no_compiled_code():
    torch._dynamo.reset()


def sparse(**options):
    model, controller = converted(**options)
    train(model, controller, 2)
    assert controller.phase == "sparse"
    return model


def test_a_sparse_model_compiles_once_for_any_batch_and_length():
    model, compilations = sparse().eval(), CompileCounter()
    compiled = torch.compile(model, backend=compilations, fullgraph=True, dynamic=True)
    for size, length in ((3, LENGTH), (2, LENGTH), (5, 50), (4, 33)):
        x = torch.randn(size, length, WIDTH)
        torch.testing.assert_close(compiled(x), model(x))
    assert compilations.frame_count == 1


# torch's compiler looks at the gradients of what a graph break hands on.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("dynamic", [None, True])
def test_twenty_dropout_seeds_compile_no_more_than_the_first(dynamic):
    model, compilations = sparse(dropout=0.1), CompileCounter()
    compiled = torch.compile(model, backend=compilations, dynamic=dynamic)
    x, counts, outs = batch()[0], [], []
    for _ in range(20):
        outs.append(compiled(x))
        counts.append(compilations.frame_count)
    assert set(counts) == {counts[0]}
    assert not torch.equal(outs[-1], outs[-2])  # each step draws anew


def test_both_phases_are_exported():
    x = batch()[0]
    for model in (converted()[0].eval(), sparse().eval()):
        sizes = {0: torch.export.Dim("batch", max=64)}
        program = torch.export.export(model, (x,), dynamic_shapes=(sizes,)).module()
        for inputs in (x, torch.randn(5, LENGTH, WIDTH)):
            torch.testing.assert_close(program(inputs), model(inputs))


def test_autocast_in_both_phases():
    model, controller = converted(switch=1)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            out = model(batch()[0])
        out.float().square().mean().backward()
        controller.step()
    assert controller.phase == "sparse"
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_func_of_a_sparse_model():
    model, x = sparse(), batch()[0]

    def loss(parameters):
        return torch.func.functional_call(model, parameters, (x,)).square().mean()

    gradients = torch.func.grad(loss)({n: p.detach() for n, p in model.named_parameters()})
    model.zero_grad()
    model(x).square().mean().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)
    model.eval()
    each = torch.vmap(lambda one: model(one[None])[0])(x)
    torch.testing.assert_close(each, model(x))


# torch's own tables of derivatives are scripted, which torch has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_forward_mode_of_a_sparse_model_is_refused():
    model, x = sparse(), batch()[0]
    with pytest.raises(NotImplementedError, match="has no forward-mode derivative"):
        torch.func.jvp(model, (x,), (x,))


def work(rank, store, results):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    model, controller = converted(switch=2)
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        parallel(halves()[rank]).square().mean().backward()
        optimizer.step()
        controller.step()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(state, f"{results}/{rank}.pt")
    dist.destroy_process_group()


def halves():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(4, LENGTH, WIDTH, generator=generator).chunk(WORLD)


def test_two_processes_train_as_one_does_and_make_its_patterns(tmp_path):
    library.load()  # once, before two processes would
    mp.spawn(work, (tmp_path / "store", tmp_path), nprocs=WORLD)
    model, controller = converted(switch=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.cat(halves())).square().mean().backward()
        optimizer.step()
        controller.step()
    assert controller.phase == "sparse"
    for rank in range(WORLD):
        state = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(state, dict(model.state_dict()))
