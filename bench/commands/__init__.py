"""The commands of `bench`, a file each: they parse, call the road, and print; heavy imports happen inside them."""
