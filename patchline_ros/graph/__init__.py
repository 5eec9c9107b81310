"""The ROS graph of the car, described without ROS, and the processes that run it."""
