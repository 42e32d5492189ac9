"""The stand-in refuses workflows that cannot run, as ComfyUI does."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vespa.simulator.comfyui_workflow import steps_of, validate, workflow


class Validation(SynchronousTestCase):
    def test_errors(self) -> None:
        """A workflow that cannot run is named with its error, and its nodes with theirs."""
        for prompt, kind, nodes in (
            ([], "no_prompt", {}),
            ({}, "prompt_no_outputs", {}),
            ({"1": {"inputs": {}}}, "invalid_prompt", {}),
            ({"1": {"class_type": "Nothing", "inputs": {}}}, "missing_node_type", {}),
            ({"9": {"class_type": "SaveImage", "inputs": {}}}, "prompt_outputs_failed_validation", {"9"}),
        ):
            error, node_errors, outputs = validate(prompt)
            assert error is not None
            self.assertEqual((error["type"], set(node_errors), outputs), (kind, set(nodes), []))
        self.assertEqual(validate(workflow()), (None, {}, ["9"]))

    def test_steps(self) -> None:
        """A KSampler has as many steps as it says, any other node one."""
        nodes = workflow(3)
        self.assertEqual(steps_of("3", nodes["3"]), [("3", 1, 3), ("3", 2, 3), ("3", 3, 3)])
        self.assertEqual(steps_of("4", nodes["4"]), [("4", 1, 1)])
