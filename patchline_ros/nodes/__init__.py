"""The ROS side: nodes that parse, call the core and publish. Only this folder imports rclpy."""
