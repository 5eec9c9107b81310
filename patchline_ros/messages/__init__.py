"""What messages hold, decoded without ROS: pictures and labels, whoever wrote the message."""
