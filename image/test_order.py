"""Which patterns `order.py` makes of the functions that ran."""

import unittest

import order

HASH = "17h0123456789abcdefE"
OTHER = "17hfedcba9876543210E"


class Patterns(unittest.TestCase):
    def test_hashes_of_both_forms_are_left_open(self):
        for name, pattern in [
            ("memcpy", "memcpy"),
            (f"_ZN5tokio4park{HASH}", "_ZN5tokio4park17h*"),
            (f"_ZN5tokio4park{HASH}.llvm.123", "_ZN5tokio4park17h*"),
            ("_RNvNtCs7BliBxkEZsN_4core3fmt5write", "_RNvNtCs*_4core3fmt5write"),
            ("_RNvCsaz6eC2DG7lh_3std5abort.llvm.123", "_RNvCs*_3std5abort*"),
        ]:
            self.assertEqual(order.pattern(name), pattern)

    def test_what_ran_stays_in_its_order_once(self):
        ran = [f"b{HASH}", "a", f"b{OTHER}"]
        self.assertEqual(order.patterns(ran, dict.fromkeys(ran, 16)), ["b17h*", "a"])

    def test_a_name_that_many_share_is_whole_first_and_open_last(self):
        ran = [f"push{HASH}", "a"]
        size_of = {f"push{HASH}": 16, f"push{OTHER}": 2 * order.PAGE, "a": 16}
        self.assertEqual(order.patterns(ran, size_of), [f"push{HASH}", "a", "push17h*"])

    def test_a_pattern_that_brings_more_than_it_saves_is_left_out(self):
        size_of = {f"push{HASH}": 16, f"push{OTHER}": 5 * order.PAGE}
        self.assertEqual(order.patterns([f"push{HASH}"], size_of), [f"push{HASH}"])

    def test_the_list_of_this_tree_has_names_that_a_linker_script_takes(self):
        for line in order.ORDER.read_text().splitlines():
            self.assertRegex(line, r"^[A-Za-z_.$][\w.$*]*$")


if __name__ == "__main__":
    unittest.main()
