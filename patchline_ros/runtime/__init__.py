"""One task's model as it runs on the car: its passes, its patch sets, the swaps between them."""
